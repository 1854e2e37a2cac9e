"""What a clip shows, in a dozen coarse classes, by words in its description or its file's name.

The first class with a fitting word wins, so "jumping jacks" is exercise and "walk, then jump" a
jump. Clips without any known word are "other".
"""

import re

_SHORT = r"\b(?:{})"
_WORDS = {
    "climb": "climb|ladder|playground|steps? up|steps? down",
    "dance": "danc|salsa|charleston|ballet|pirouette|waltz|pasodoble|lambada|bharat|indian|"
    "arabesque|jete|folk|lindy",
    "exercise": "jumping jacks?|squat|lunge|stretch|hurdle step|leg raise|shoulder|side twists?|"
    "range of motion|rotatearms|elbowtoknee|push.?ups?|sit.?ups?|exercis|warm.?up|yoga|cartwheel",
    "martial arts": "box|punch|kick|karate|sword|fight|martial|empi|gedanbarai|heiansyodan|"
    "mawashigeri|oiduki|syutouuke|yokogeri|kungfu|kung fu|tai.?chi|strike|defen[cs]e|capoeira",
    "sport": "basketball|soccer|golf|baseball|throw|dribbl|tennis|volley|bowl|pitch|swim|skate|"
    "football|frisbee|acrobat|flip|backflip|gymnast|handstand|somersault",
    "floor": "lie down|liedown|lying|crawl|get up|getup|roll|fall|dive",
    "sit": "sit|seat|stool|chair|stand up|motorcycle",
    "jump": "jump|hop|leap|skip",
    "run": "run|jog|sprint",
    "walk": "walk|navigate|step|stride|march|sneak|limp|stealth|stroll|zombie|wander|turn|spiral|"
    "cross|slope|duck",
    "animals and mime": "human subject|animal|nursery|vacation|mime|signal|teapot|chicken|bear",
    "everyday": "wash|mop|sweep|drink|eat|pick|carry|lift|reach|grab|deposit|open|close|phone|"
    "laugh|talk|wave|point|traffic|conversation|gesture|bend|scoop|hammer|paint|cook|push|pull|wait|"
    "look|clean|dig|tie|comb|shake|balance|tiptoe|hang",
}
ACTIONS = (*_WORDS, "other")
_PATTERNS = {action: re.compile(_SHORT.format(words)) for action, words in _WORDS.items()}
# A kick or a jump in one of these is sport.
_FIRST = re.compile(r"\b(soccer|basketball|baseball|football|golf)")


def action_of(text: str) -> str:
    """The class of a clip by its description, or by its file's name where it has none."""
    words = re.sub(r"[_\-/,.]+|(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[A-Za-z])", " ", text)
    plain = f"{words} {text}".lower()
    if _FIRST.search(plain):
        return "sport"
    return next((action for action, words in _PATTERNS.items() if words.search(plain)), "other")
