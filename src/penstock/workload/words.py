"""The words that prompts are made of: common English ones of three letters.

A word and the space before it are four characters and, in the vocabularies of common byte-pair tokenizers, one token.
So a text of n of these words has about n tokens whoever counts, and a count of characters / 4 is right as well.
"""

WORDS: tuple[str, ...] = tuple(
    """
    the and for are but not you all any can had her was one our out day get has him
    his how man new now old see two way who boy did its let put say she too use dad
    mom act add age ago aid aim air arm art ask bad bag bar bat bed bee bet bid big
    bit box bug bus buy cab cap car cat cow cry cup cut die dig dog dry due ear eat
    egg end eye far fat fee few fit fix fly fox fun gap gas gun guy hat hit hot ice
    ill ink jam jet job joy key kid lab lap law lay led leg lie lip log lot low map
    may met mix mud net nor nut odd off oil own pad pan pay pen per pet pie pig pin
    pop pot pro ran rat raw red rid rim rip rob row rub run sad sat saw sea set sex
    sin sir sit six sky son sum sun tax tea ten tie tin tip toe top toy try via war
    wet why win won yes yet zip arc ash ban beg bow bin cop den dim dot
    """.split()
)
