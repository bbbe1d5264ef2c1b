// mock.c: a cheap OpenAI/vLLM upstream on epoll: one thread, any number of ports, one "replica" a port.
//   mock -p 19001,19002 [-c chunks] [-d delay_ms] [-f first_delay_ms]
// POST: a JSON answer, or SSE when the body has "stream": true. Per request, read from anywhere in the body (put it in a
// message, because some gateways drop fields that they do not know):   chunks=N   delay=MS   ttft=MS
// GET /health /v1/models /metrics (vLLM names) /stats (requests, in flight and connections per port, as JSON)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAXPORT 16
typedef struct conn {
    int fd, port, lfd, want_out, closing;
    char *in;
    size_t in_len, in_cap, in_off;
    char *out;
    size_t out_len, out_cap, out_off;
    int streaming, chunks_left, chunk_no, heap_i, ready_i;
    double delay;
    uint64_t due;
} conn;

static int ports[MAXPORT], nports;
static uint64_t nreq[MAXPORT], ninfl[MAXPORT], nconn[MAXPORT];
static int def_chunks = 64;
static double def_delay = 0, def_first = 0;
static int ep;
static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// heap of delayed streams, ready ring of zero-delay streams
static conn **heap;
static int hn, hcap;
static conn **rdy;
static int rn, rcap;
static void hset(int i, conn *c) {
    heap[i] = c;
    c->heap_i = i;
}
static void hup(int i) {
    conn *c = heap[i];
    while (i > 0) {
        int p = (i - 1) / 2;
        if (heap[p]->due <= c->due)
            break;
        hset(i, heap[p]);
        i = p;
    }
    hset(i, c);
}
static void hdown(int i) {
    conn *c = heap[i];
    for (;;) {
        int k = 2 * i + 1;
        if (k >= hn)
            break;
        if (k + 1 < hn && heap[k + 1]->due < heap[k]->due)
            k++;
        if (heap[k]->due >= c->due)
            break;
        hset(i, heap[k]);
        i = k;
    }
    hset(i, c);
}
static void hpush(conn *c) {
    if (hn == hcap) {
        hcap = hcap ? hcap * 2 : 1024;
        heap = realloc(heap, hcap * sizeof *heap);
    }
    heap[hn] = c;
    c->heap_i = hn;
    hn++;
    hup(hn - 1);
}
static void hdel(conn *c) {
    int i = c->heap_i;
    if (i < 0)
        return;
    c->heap_i = -1;
    hn--;
    if (i < hn) {
        hset(i, heap[hn]);
        hup(i);
        hdown(heap[i]->heap_i);
    }
}
static void rpush(conn *c) {
    if (rn == rcap) {
        rcap = rcap ? rcap * 2 : 1024;
        rdy = realloc(rdy, rcap * sizeof *rdy);
    }
    rdy[rn] = c;
    c->ready_i = rn++;
}
static void rdel(conn *c) {
    int i = c->ready_i;
    if (i < 0)
        return;
    c->ready_i = -1;
    rn--;
    if (i < rn) {
        rdy[i] = rdy[rn];
        rdy[i]->ready_i = i;
    }
}

static void cclose(conn *c) {
    hdel(c);
    rdel(c);
    if (c->streaming) {
        c->streaming = 0;
        ninfl[c->port]--;
    }
    nconn[c->port]--;
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
}
static int flush_out(conn *c) { // -1: dead
    while (c->out_off < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN) {
                if (!c->want_out) {
                    struct epoll_event e = {EPOLLIN | EPOLLOUT, {.ptr = c}};
                    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                    c->want_out = 1;
                }
                return 0;
            }
            return -1;
        }
        c->out_off += n;
    }
    c->out_len = c->out_off = 0;
    if (c->want_out) {
        struct epoll_event e = {EPOLLIN, {.ptr = c}};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
        c->want_out = 0;
    }
    return c->closing && !c->streaming ? -1 : 0;
}
static void put(conn *c, const char *s, size_t n) {
    if (c->out_len + n > c->out_cap) {
        c->out_cap = (c->out_len + n) * 2;
        c->out = realloc(c->out, c->out_cap);
    }
    memcpy(c->out + c->out_len, s, n);
    c->out_len += n;
}

static char json_resp[2048];
static int json_len;
static void build(void) {
    const char *body = "{\"id\":\"chatcmpl-mock-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion\","
                       "\"created\":1760000000,\"model\":\"mock-model\",\"choices\":[{\"index\":0,\"message\":{"
                       "\"role\":\"assistant\",\"content\":\"The quick brown fox jumps over the lazy dog. The quick "
                       "brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The quick "
                       "brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy "
                       "dog.\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_"
                       "tokens\":57,\"completion_tokens\":52,\"total_tokens\":109},\"system_fingerprint\":null}";
    json_len = sprintf(json_resp, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       strlen(body), body);
}
static void send_simple(conn *c, const char *ct, const char *body) {
    char h[256];
    int n = sprintf(h, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", ct, strlen(body));
    put(c, h, n);
    put(c, body, strlen(body));
}

static void emit_event(conn *c, const char *s, int n) {
    char h[16];
    int k = sprintf(h, "%x\r\n", n);
    put(c, h, k);
    put(c, s, n);
    put(c, "\r\n", 2);
}
static void emit_chunk(conn *c) { // one SSE chunk, or the tail
    char b[512];
    if (c->chunks_left > 0) {
        // the send timestamp rides in the content, so the client can compute transit time
        int n = sprintf(b,
                        "data: "
                        "{\"id\":\"chatcmpl-mock-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":"
                        "1760000000,\"model\":\"mock-model\",\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"@%"
                        "016llu@ tok\"},\"finish_reason\":null}]}\n\n",
                        c->chunk_no == 0 ? "\"role\":\"assistant\"," : "", (unsigned long long)now_ns());
        emit_event(c, b, n);
        c->chunk_no++;
        c->chunks_left--;
        return;
    }
    int n = sprintf(b,
                    "data: "
                    "{\"id\":\"chatcmpl-mock-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":"
                    "1760000000,\"model\":\"mock-model\",\"choices\":[],\"usage\":{\"prompt_tokens\":57,\"completion_"
                    "tokens\":%d,\"total_tokens\":%d}}\n\n",
                    c->chunk_no, 57 + c->chunk_no);
    emit_event(c, b, n);
    emit_event(c, "data: [DONE]\n\n", 14);
    put(c, "0\r\n\r\n", 5);
    c->streaming = 0;
    ninfl[c->port]--;
}
static int step_stream(conn *c) {
    emit_chunk(c);
    return flush_out(c);
}

static int handle(conn *c);
static void after_step(conn *c) { // schedule next chunk
    if (!c->streaming) {
        hdel(c);
        rdel(c);
        return;
    }
    if (c->delay > 0) {
        c->due += (uint64_t)(c->delay * 1e6);
        if (c->heap_i < 0)
            hpush(c);
        else
            hdown(c->heap_i);
        rdel(c);
    } else {
        hdel(c);
        if (c->ready_i < 0 && !c->want_out)
            rpush(c);
    }
}
static double numafter(const char *b, size_t n, const char *key, double def) {
    char *p = memmem(b, n, key, strlen(key));
    if (!p)
        return def;
    p += strlen(key);
    while (p < b + n && (*p == ' ' || *p == ':' || *p == '"'))
        p++;
    return p < b + n ? atof(p) : def;
}
static int handle(conn *c) { // process complete requests; returns -1 if closed
    while (!c->streaming) {
        char *s = c->in + c->in_off;
        size_t n = c->in_len - c->in_off;
        if (n < 16)
            break;
        char *he = memmem(s, n, "\r\n\r\n", 4);
        if (!he)
            break;
        size_t hl = he + 4 - s;
        size_t cl = 0, bodyn;
        char *body = s + hl;
        char sv = *he;
        *he = 0;
        char *p = strcasestr(s, "\r\ncontent-length:");
        char *te = strcasestr(s, "\r\ntransfer-encoding:");
        char *cc = strcasestr(s, "\r\nconnection: close");
        char *e100 = strcasestr(s, "\r\nexpect: 100");
        *he = sv;
        if (te && te < he) {
            char *z = memmem(body, n - hl, "0\r\n\r\n", 5);
            if (!z) {
                break;
            }
            bodyn = z + 5 - body;
        } else {
            if (p && p < he)
                cl = strtoul(p + 17, 0, 10);
            bodyn = cl;
            if (n < hl + cl) {
                if (e100 && n == hl) {
                    put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
                    flush_out(c);
                }
                break;
            }
        }
        c->in_off += hl + bodyn;
        nreq[c->port]++;
        if (cc && cc < he)
            c->closing = 1;
        if (s[0] == 'P') {
            int st = 0;
            char *q = memmem(body, bodyn, "\"stream\"", 8);
            if (q) {
                q += 8;
                while (*q == ' ' || *q == ':')
                    q++;
                st = (*q == 't');
            }
            if (!st) {
                put(c, json_resp, json_len);
            } else {
                c->chunks_left = (int)numafter(body, bodyn, "chunks=", def_chunks);
                c->delay = numafter(body, bodyn, "delay=", def_delay);
                double first = numafter(body, bodyn, "ttft=", def_first);
                c->chunk_no = 0;
                c->streaming = 1;
                ninfl[c->port]++;
                static const char h[] =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: "
                    "no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
                put(c, h, sizeof h - 1);
                c->due = now_ns() + (uint64_t)(first * 1e6);
                if (first > 0) {
                    if (flush_out(c) < 0) {
                        cclose(c);
                        return -1;
                    }
                    hpush(c);
                } else {
                    if (step_stream(c) < 0) {
                        cclose(c);
                        return -1;
                    }
                    after_step(c);
                }
                continue;
            }
        } else if (!memcmp(s, "GET /v1/models", 14) || !memcmp(s, "GET /models", 11))
            send_simple(
                c, "application/json",
                "{\"object\":\"list\",\"data\":[{\"id\":\"mock-model\",\"object\":\"model\",\"created\":1760000000,"
                "\"owned_by\":\"vllm\",\"root\":\"mock-model\",\"parent\":null,\"max_model_len\":32768}]}");
        else if (!memcmp(s, "GET /metrics", 12)) {
            char b[2048];
            unsigned long long i = ninfl[c->port];
            sprintf(
                b,
                "# HELP vllm:num_requests_running Number of requests in model execution batches.\n# TYPE "
                "vllm:num_requests_running gauge\nvllm:num_requests_running{engine=\"0\",model_name=\"mock-model\"} "
                "%llu.0\n# HELP vllm:num_requests_waiting Number of requests waiting to be processed.\n# TYPE "
                "vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{engine=\"0\",model_name=\"mock-model\"} "
                "0.0\n# TYPE vllm:gpu_cache_usage_perc "
                "gauge\nvllm:gpu_cache_usage_perc{engine=\"0\",model_name=\"mock-model\"} %.4f\n# TYPE "
                "vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{engine=\"0\",model_name=\"mock-model\"} "
                "%.4f\n# TYPE vllm:prefix_cache_queries_total "
                "counter\nvllm:prefix_cache_queries_total{engine=\"0\",model_name=\"mock-model\"} 0.0\n# TYPE "
                "vllm:prefix_cache_hits_total "
                "counter\nvllm:prefix_cache_hits_total{engine=\"0\",model_name=\"mock-model\"} 0.0\n",
                i, i / 1000.0, i / 1000.0);
            send_simple(c, "text/plain; version=0.0.4", b);
        } else if (!memcmp(s, "GET /stats", 10)) {
            char b[2048];
            int k = sprintf(b, "{");
            for (int i = 0; i < nports; i++)
                k += sprintf(b + k, "%s\"%d\":{\"requests\":%llu,\"inflight\":%llu,\"connections\":%llu}", i ? "," : "",
                             ports[i], (unsigned long long)nreq[i], (unsigned long long)ninfl[i],
                             (unsigned long long)nconn[i]);
            sprintf(b + k, "}");
            send_simple(c, "application/json", b);
        } else if (!memcmp(s, "GET /get_server_info", 20) || !memcmp(s, "GET /server_info", 16))
            send_simple(c, "application/json",
                        "{\"model_path\":\"mock-model\",\"served_model_name\":\"mock-model\",\"version\":\"0.5.0\"}");
        else if (!memcmp(s, "GET /get_model_info", 19) || !memcmp(s, "GET /model_info", 15))
            send_simple(c, "application/json", "{\"model_path\":\"mock-model\",\"is_generation\":true}");
        else
            send_simple(c, "application/json", "{\"status\":\"ok\"}");
        if (flush_out(c) < 0) {
            cclose(c);
            return -1;
        }
    }
    if (c->in_off == c->in_len)
        c->in_off = c->in_len = 0;
    else if (c->in_off) {
        memmove(c->in, c->in + c->in_off, c->in_len - c->in_off);
        c->in_len -= c->in_off;
        c->in_off = 0;
    }
    return 0;
}
int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    int o;
    char *pl = "19001,19002";
    while ((o = getopt(argc, argv, "p:c:d:f:")) != -1) {
        if (o == 'p')
            pl = optarg;
        if (o == 'c')
            def_chunks = atoi(optarg);
        if (o == 'd')
            def_delay = atof(optarg);
        if (o == 'f')
            def_first = atof(optarg);
    }
    build();
    ep = epoll_create1(0);
    conn ls[MAXPORT];
    char *dup = strdup(pl);
    for (char *t = strtok(dup, ","); t && nports < MAXPORT; t = strtok(0, ","))
        ports[nports++] = atoi(t);
    for (int i = 0; i < nports; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        struct sockaddr_in a = {
            .sin_family = AF_INET, .sin_port = htons(ports[i]), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        if (bind(fd, (void *)&a, sizeof a) || listen(fd, 4096)) {
            perror("bind/listen");
            return 1;
        }
        memset(&ls[i], 0, sizeof ls[i]);
        ls[i].lfd = 1;
        ls[i].fd = fd;
        ls[i].port = i;
        struct epoll_event e = {EPOLLIN, {.ptr = &ls[i]}};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
    struct epoll_event ev[512];
    for (;;) {
        int to = -1;
        if (rn)
            to = 0;
        else if (hn) {
            uint64_t n = now_ns();
            int64_t d = (int64_t)(heap[0]->due - n);
            to = d <= 0 ? 0 : (int)((d + 999999) / 1000000);
        }
        int k = epoll_wait(ep, ev, 512, to);
        for (int i = 0; i < k; i++) {
            conn *c = ev[i].data.ptr;
            if (c->lfd) {
                for (int q = 0; q < 256; q++) {
                    int fd = accept4(c->fd, 0, 0, SOCK_NONBLOCK);
                    if (fd < 0)
                        break;
                    int one = 1;
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    conn *n = calloc(1, sizeof *n);
                    n->fd = fd;
                    n->port = c->port;
                    n->heap_i = n->ready_i = -1;
                    n->in_cap = 2048;
                    n->in = malloc(n->in_cap + 1);
                    nconn[n->port]++;
                    struct epoll_event e = {EPOLLIN, {.ptr = n}};
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                }
                continue;
            }
            if (ev[i].events & EPOLLOUT) {
                if (flush_out(c) < 0) {
                    cclose(c);
                    continue;
                }
                if (c->streaming && c->delay <= 0 && !c->want_out && c->ready_i < 0)
                    rpush(c);
            }
            if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                if (c->in_cap - c->in_len < 1024) {
                    c->in_cap *= 2;
                    c->in = realloc(c->in, c->in_cap + 1);
                }
                ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
                if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                    cclose(c);
                    continue;
                }
                if (n > 0) {
                    c->in_len += n;
                    c->in[c->in_len] = 0;
                    handle(c);
                }
            }
        }
        // zero-delay streams: one chunk per loop each
        for (int i = rn - 1; i >= 0; i--) {
            if (i >= rn)
                continue;
            conn *c = rdy[i];
            if (c->want_out) {
                rdel(c);
                continue;
            }
            if (step_stream(c) < 0) {
                cclose(c);
                continue;
            }
            after_step(c);
            if (!c->streaming && c->in_len > c->in_off)
                handle(c);
        }
        if (hn) {
            uint64_t n = now_ns();
            while (hn && heap[0]->due <= n) {
                conn *c = heap[0];
                if (step_stream(c) < 0) {
                    cclose(c);
                    continue;
                }
                after_step(c);
                if (!c->streaming && c->in_len > c->in_off)
                    handle(c);
            }
        }
    }
}
