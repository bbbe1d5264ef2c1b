// load.c: a small HTTP/1.1 load generator on epoll (one thread, keep-alive, 127.0.0.1 only).
//   load -u http://127.0.0.1:8000/v1/chat/completions -c connections -t seconds -b body.json
//        [-H "Name: value"]... [-s] (streaming) [-n total requests, 0 = by time] [-R requests/s] (open loop, 0 = closed)
//        [-w ramp seconds] [-1] (one request per connection, then stop)
// Prints one JSON object. For streams: events = SSE "data:" lines; transit = the time from the mock upstream writing a
// chunk (its time stamp rides inside the content, "@ns@") to its arrival here.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
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
#define NB1 200000
#define NB2 600000
typedef struct {
    uint32_t a[NB1], b[NB2];
    uint64_t n;
    double sum;
    uint64_t max;
} hist; // us buckets: 1us to 0.2 s, then 100us to 60 s
static void hadd(hist *h, uint64_t ns) {
    uint64_t us = ns / 1000;
    if (us < NB1)
        h->a[us]++;
    else {
        uint64_t k = us / 100;
        if (k >= NB2)
            k = NB2 - 1;
        h->b[k]++;
    }
    h->n++;
    h->sum += us;
    if (us > h->max)
        h->max = us;
}
static double hq(hist *h, double q) {
    uint64_t t = (uint64_t)ceil(h->n * q), c = 0;
    if (!h->n)
        return -1;
    if (t < 1)
        t = 1;
    for (int i = 0; i < NB1; i++) {
        c += h->a[i];
        if (c >= t)
            return i;
    }
    for (int i = 0; i < NB2; i++) {
        c += h->b[i];
        if (c >= t)
            return i * 100.0;
    }
    return h->max;
}
static void hprint(const char *name, hist *h) {
    printf("\"%s\":{\"n\":%llu,\"mean\":%.1f,\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%llu}", name,
           (unsigned long long)h->n, h->n ? h->sum / h->n : -1.0, hq(h, .5), hq(h, .9), hq(h, .99), hq(h, .999),
           (unsigned long long)h->max);
}
static hist H_lat, H_ttft, H_itl, H_tr;
static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
typedef struct {
    int fd, state; // 0 idle 1 in flight 2 connecting 3 dead
    char hb[16384];
    int hl;
    int inbody;
    int chunked;
    long long remain;
    int cs;
    long long csz;
    int eofbody;
    int keep;
    int status;
    int ln;
    char line[1024];
    int first;
    int done;
    int nev;
    uint64_t t0, tlast, sched;
    size_t woff;
    int used;
} conn;
static struct sockaddr_in A;
static char *req;
static size_t reqn;
static int stream, one, ep;
static uint64_t ok, err_conn, err_http, err_trunc, err_nodone, events, bytes, reconn, statuses[600];
static int inflight, max_inflight;
static double rate;
static uint64_t t_start, t_end, issued, total;
static char errsample[400];
static void note(conn *c) {
    if (!errsample[0]) {
        int n = c->hl < 380 ? c->hl : 380;
        int j = 0;
        for (int i = 0; i < n; i++) {
            char x = c->hb[i];
            errsample[j++] = (x < 32 || x == '"' || x == '\\' || x > 126) ? ' ' : x;
        }
        errsample[j] = 0;
    }
}
static int dial(conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return -1;
    int o = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &o, sizeof o);
    if (connect(c->fd, (void *)&A, sizeof A) && errno != EINPROGRESS) {
        close(c->fd);
        c->fd = -1;
        return -1;
    }
    struct epoll_event e = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = c}};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    c->used = 0;
    c->state = 2;
    return 0;
}
static void wr(conn *c) {
    while (c->woff < reqn) {
        ssize_t n = send(c->fd, req + c->woff, reqn - c->woff, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return;
        }
        c->woff += n;
    }
}
static void start(conn *c, uint64_t sched) {
    c->state = 1;
    c->woff = 0;
    c->hl = 0;
    c->inbody = 0;
    c->chunked = 0;
    c->remain = -1;
    c->cs = 0;
    c->csz = 0;
    c->eofbody = 0;
    c->keep = 1;
    c->status = 0;
    c->ln = 0;
    c->first = 1;
    c->done = 0;
    c->nev = 0;
    c->t0 = now_ns();
    c->sched = sched ? sched : c->t0;
    c->tlast = 0;
    c->used++;
    issued++;
    if (++inflight > max_inflight)
        max_inflight = inflight;
    wr(c);
}
static void redial(conn *c) {
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    reconn++;
    if (dial(c) < 0) {
        c->state = 3;
        err_conn++;
    }
}
static void feed(conn *c, const char *p, int n, uint64_t t) { // body bytes -> SSE events
    if (!stream)
        return;
    int got = 0;
    while (n > 0) {
        const char *nl = memchr(p, '\n', n);
        int k = nl ? nl - p : n;
        int room = (int)sizeof c->line - 1 - c->ln;
        int m = k < room ? k : room;
        memcpy(c->line + c->ln, p, m);
        c->ln += m;
        if (!nl)
            break;
        c->line[c->ln] = 0;
        if (c->ln >= 5 && !memcmp(c->line, "data:", 5)) {
            events++;
            c->nev++;
            got++;
            if (c->ln >= 11 && memmem(c->line, 24 < c->ln ? 24 : c->ln, "[DONE]", 6))
                c->done = 1;
            else {
                char *a = memchr(c->line, '@', c->ln);
                if (a && a + 17 < c->line + c->ln && a[17] == '@') {
                    uint64_t ts = strtoull(a + 1, 0, 10);
                    if (t > ts)
                        hadd(&H_tr, t - ts);
                }
            }
        }
        c->ln = 0;
        p += k + 1;
        n -= k + 1;
    }
    if (got) {
        if (c->first) {
            c->first = 0;
            hadd(&H_ttft, t - c->t0);
        } else
            hadd(&H_itl, t - c->tlast);
        c->tlast = t;
    }
}
static void finish(conn *c, int good, uint64_t t) {
    inflight--;
    if (c->status < 600 && c->status > 0)
        statuses[c->status]++;
    if (!good) {
    } else if (c->status != 200) {
        err_http++;
        note(c);
    } else if (stream && !c->done) {
        err_nodone++;
        note(c);
    } else {
        ok++;
        hadd(&H_lat, t - c->sched);
    }
    c->state = 0;
}
static int stopping;
static int more(void) { return !stopping && (!total || issued < total); }
static void next(conn *c) {
    if (one) {
        c->state = 3;
        return;
    }
    if (!c->keep) {
        redial(c);
        return;
    }
    if (rate <= 0 && more())
        start(c, 0);
}
static void rd(conn *c) {
    static char buf[262144];
    for (;;) {
        ssize_t n = recv(c->fd, buf, sizeof buf, 0);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN)
                return;
            n = 0;
            if (c->state == 1 && c->inbody)
                c->remain = -2;
        }
        uint64_t t = now_ns();
        if (n == 0) {
            int was = c->state;
            if (was == 3) {
                close(c->fd);
                c->fd = -1;
                return;
            }
            if (was == 1) {
                if (c->inbody && c->eofbody && c->remain != -2) {
                    finish(c, 1, t);
                } else {
                    if (c->hl == 0 && c->used > 1) {
                        inflight--;
                        issued--; /* stale keep-alive: retry */
                    } else {
                        err_trunc++;
                        note(c);
                        finish(c, 0, t);
                    }
                }
            } else if (was == 2) {
                err_conn++;
            }
            if (one && was == 1) {
                c->state = 3;
                close(c->fd);
                c->fd = -1;
                return;
            }
            if (was == 2) {
                static int fails;
                if (++fails > 20000) {
                    c->state = 3;
                    close(c->fd);
                    c->fd = -1;
                    return;
                }
                usleep(100);
            }
            redial(c);
            return;
        }
        bytes += n;
        char *p = buf;
        int left = n;
        while (left > 0) {
            if (c->state != 1) {
                left = 0;
                break;
            }
            if (!c->inbody) {
                int m = left < (int)sizeof c->hb - 1 - c->hl ? left : (int)sizeof c->hb - 1 - c->hl;
                memcpy(c->hb + c->hl, p, m);
                int oldl = c->hl;
                c->hl += m;
                c->hb[c->hl] = 0;
                char *he = memmem(c->hb, c->hl, "\r\n\r\n", 4);
                if (!he) {
                    if (m < left || c->hl >= (int)sizeof c->hb - 1) {
                        err_http++;
                        finish(c, 0, t);
                        redial(c);
                        return;
                    }
                    break;
                }
                int used = (he + 4 - c->hb) - oldl;
                p += used;
                left -= used;
                c->status = atoi(c->hb + 9);
                char sv = *(he + 2);
                *(he + 2) = 0;
                char *cl = strcasestr(c->hb, "\ncontent-length:");
                char *te = strcasestr(c->hb, "\ntransfer-encoding:");
                if (strcasestr(c->hb, "\nconnection: close"))
                    c->keep = 0;
                *(he + 2) = sv;
                c->inbody = 1;
                if (te)
                    c->chunked = 1;
                else if (cl) {
                    c->remain = atoll(cl + 16);
                } else {
                    c->eofbody = 1;
                    c->keep = 0;
                    c->remain = 1LL << 60;
                }
                if (!c->chunked && c->remain == 0) {
                    finish(c, 1, t);
                    next(c);
                }
                continue;
            }
            if (c->chunked) { // cs: 0 size line, 1 data, 2 crlf after data, 3 trailer
                if (c->cs == 0) {
                    char x = *p++;
                    left--;
                    if (x == '\n') {
                        if (c->csz == 0)
                            c->cs = 3, c->ln = c->ln;
                        else
                            c->cs = 1;
                    } else if (x >= '0' && x <= '9')
                        c->csz = c->csz * 16 + x - '0';
                    else if ((x | 32) >= 'a' && (x | 32) <= 'f')
                        c->csz = c->csz * 16 + (x | 32) - 'a' + 10;
                } else if (c->cs == 1) {
                    int m = left < c->csz ? left : (int)c->csz;
                    feed(c, p, m, t);
                    p += m;
                    left -= m;
                    c->csz -= m;
                    if (!c->csz)
                        c->cs = 2;
                } else if (c->cs == 2) {
                    char x = *p++;
                    left--;
                    if (x == '\n') {
                        c->cs = 0;
                        c->csz = 0;
                    }
                } else {
                    char x = *p++;
                    left--;
                    if (x == '\n') {
                        finish(c, 1, t);
                        next(c);
                    }
                }
            } else {
                int m = left < c->remain ? left : (int)c->remain;
                feed(c, p, m, t);
                p += m;
                left -= m;
                c->remain -= m;
                if (!c->remain) {
                    finish(c, 1, t);
                    next(c);
                }
            }
        }
        if (c->state == 3 || c->fd < 0)
            return;
        if (c->state == 2)
            return;
        if (n < (ssize_t)sizeof buf)
            return;
    }
}
int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    char *url = 0, *bf = 0, hdr[8192] = "";
    int nc = 1, o;
    double secs = 5, ramp = 0;
    while ((o = getopt(argc, argv, "u:c:t:b:H:sn:R:w:1")) != -1)
        switch (o) {
        case 'u':
            url = optarg;
            break;
        case 'c':
            nc = atoi(optarg);
            break;
        case 't':
            secs = atof(optarg);
            break;
        case 'b':
            bf = optarg;
            break;
        case 'H':
            strcat(hdr, optarg);
            strcat(hdr, "\r\n");
            break;
        case 's':
            stream = 1;
            break;
        case 'n':
            total = strtoull(optarg, 0, 10);
            break;
        case 'R':
            rate = atof(optarg);
            break;
        case 'w':
            ramp = atof(optarg);
            break;
        case '1':
            one = 1;
            break;
        }
    if (!url || !bf)
        return 2;
    char host[64];
    int port;
    char path[512] = "/";
    if (sscanf(url, "http://%63[^:]:%d%511s", host, &port, path) < 2)
        return 2;
    if (strcmp(host, "127.0.0.1")) {
        fprintf(stderr, "loopback only\n");
        return 2;
    }
    FILE *f = fopen(bf, "rb");
    if (!f)
        return 2;
    static char body[1 << 20];
    size_t bn = fread(body, 1, sizeof body, f);
    fclose(f);
    while (bn && body[bn - 1] == '\n')
        bn--;
    req = malloc(bn + 16384);
    reqn = sprintf(req,
                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: "
                   "*/*\r\nUser-Agent: lg\r\n%sContent-Length: %zu\r\n\r\n",
                   path, port, hdr, bn);
    memcpy(req + reqn, body, bn);
    reqn += bn;
    A = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    ep = epoll_create1(0);
    conn *cs = calloc(nc, sizeof *cs);
    t_start = now_ns();
    t_end = t_start + (uint64_t)(secs * 1e9);
    int opened = 0;
    uint64_t t_hard = t_end + (uint64_t)60e9;
    struct epoll_event ev[1024];
    uint64_t nextdue = t_start;
    double gap = rate > 0 ? 1e9 / rate : 0;
    uint64_t sched_i = 0;
    int rr = 0;
    uint64_t t_last = t_start;
    for (;;) {
        uint64_t t = now_ns();
        if (t >= t_end)
            stopping = 1;
        if (stopping && (inflight == 0 || t >= t_hard))
            break;
        if (one && opened == nc) {
            int live = 0;
            for (int i = 0; i < nc && !live; i++)
                if (cs[i].state != 3)
                    live = 1;
            if (!live)
                break;
        }
        if (total && issued >= total && inflight == 0)
            break;
        int want = ramp > 0 ? (int)(nc * ((t - t_start) / 1e9 / ramp)) + 1 : nc;
        if (want > nc)
            want = nc;
        while (opened < want && !stopping) {
            if (dial(&cs[opened]) < 0) {
                cs[opened].state = 3;
                err_conn++;
            }
            opened++;
        }
        if (rate > 0 && !stopping) {
            int tried = 0;
            while (t >= nextdue && tried < nc) {
                conn *c = &cs[rr];
                rr = (rr + 1) % nc;
                tried++;
                if (c->state == 0 && c->fd >= 0) {
                    start(c, nextdue);
                    sched_i++;
                    nextdue = t_start + (uint64_t)(gap * (sched_i));
                    tried = 0;
                }
            }
        }
        uint64_t wait = opened < nc ? 1000000ull : 50000000ull;
        if (rate > 0 && !stopping) {
            uint64_t q = now_ns();
            uint64_t d = nextdue > q ? nextdue - q : 0;
            if (d == 0)
                d = 50000; /* all connections busy */
            if (d < wait)
                wait = d;
        }
        struct timespec to = {wait / 1000000000ull, wait % 1000000000ull};
        int k = epoll_pwait2(ep, ev, 1024, &to, 0);
        for (int i = 0; i < k; i++) {
            conn *c = ev[i].data.ptr;
            if (c->fd < 0)
                continue;
            if (c->state == 2 && (ev[i].events & EPOLLOUT) && !(ev[i].events & (EPOLLERR | EPOLLHUP))) {
                c->state = 0;
                if (rate <= 0 && more())
                    start(c, 0);
                else if (one && stopping)
                    c->state = 3;
            } else if (c->state == 1 && c->woff < reqn && (ev[i].events & EPOLLOUT))
                wr(c);
            if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                rd(c);
        }
        t_last = now_ns();
    }
    double el = (t_last - t_start) / 1e9;
    int hung = inflight;
    printf("{\"elapsed\":%.3f,\"ok\":%llu,\"rps\":%.1f,\"events\":%llu,\"events_per_s\":%.0f,\"bytes\":%llu,\"max_"
           "inflight\":%d,\"err_conn\":%llu,\"err_http\":%llu,\"err_trunc\":%llu,\"err_nodone\":%llu,\"hung\":%d,"
           "\"reconnects\":%llu,",
           el, (unsigned long long)ok, ok / el, (unsigned long long)events, events / el, (unsigned long long)bytes,
           max_inflight, (unsigned long long)err_conn, (unsigned long long)err_http, (unsigned long long)err_trunc,
           (unsigned long long)err_nodone, hung, (unsigned long long)reconn);
    printf("\"statuses\":{");
    int fst = 1;
    for (int i = 0; i < 600; i++)
        if (statuses[i]) {
            printf("%s\"%d\":%llu", fst ? "" : ",", i, (unsigned long long)statuses[i]);
            fst = 0;
        }
    printf("},\"errsample\":\"%s\",", errsample);
    hprint("lat_us", &H_lat);
    printf(",");
    hprint("ttft_us", &H_ttft);
    printf(",");
    hprint("itl_us", &H_itl);
    printf(",");
    hprint("transit_us", &H_tr);
    printf("}\n");
    return 0;
}
