"""Texts in photos that no person wrote: what cameras and programs put there by themselves.

Only whole texts that are known count, so that a caption that merely begins like one of them is kept: "Made with GIMP"
is left out, "Made with love by Grandma" and "MY FIRST DIGITAL CAMERA" are not.
"""

import json
import re
from contextlib import suppress
from unicodedata import category

_MAKERS = (
    r"agfa|benq|canon|casio|concord|epson|fujifilm|general|hp|hewlett-packard|jenoptik|kodak|konica|"
    r"konica minolta|kyocera|leica|lg|medion|minolta|mustek|nikon|olympus|panasonic|pentax|polaroid|praktica|"
    r"premier|ricoh|rollei|samsung|sanyo|sony|toshiba|traveler|trust|vivitar|yakumo"
)
_PROGRAMS = (
    r"(the )?gimp( on a mac)?|"
    r"(adobe )?(photoshop|(photoshop )?lightroom|illustrator|fireworks|imageready)"
    r"( cc| elements| express| mobile| classic)?|"
    r"acdsee|afterlight|aviary|b612|camera\+|camtasia|canva|capture one|darktable|digikam|facetune|fotor|"
    r"google( photos)?|graphicsmagick|imagemagick|imagegear|inshot|inkscape|instagram|irfanview|jpeg-recompress|"
    r"jpegmini|kvadphoto\+ pro|lensa|lightshot|luminar|meitu|moldiv|ms paint|nero photosnap|paint\.net|"
    r"photofiltre|photogrid|photoimpression|photoscape( x)?|picasa|picmonkey|picsart|pixelmator( pro)?|pixlr|"
    r"polarr|prisma|rawtherapee|remini|retrica|rookie cam|shotwell|snapseed|squareready|vsco(cam)?|"
    r"windows photo (editor|gallery)|xnview( mp)?"
)
_VERSION = r"([\s,(]*(v|version|ver\.|r)?\s?\d[\w.,| -]*\)?)?(\s*(®|©|™|\(r\)|\(c\)))?"
_KEYS_OF_PHONES = (  # of the notes that phones keep in comments: "filter: 0; module: photo; AI_Scene: -1; ..."
    "AI_Scene|aec_lux|albedo|algolist|algotype|brp_\\w+|captureOrientation|cct_value|delta|fileterIntensity|filter|"
    "filterMask|highlight|hist255|hw-remosaic|maskEffect|modeInfo|module|motionLevel|multi-frame|runfunc|sceneMode|"
    "sceneType|touch|weatherinfo|zeissColor"
)
_BOILERPLATE = re.compile(
    rf"""
    # cameras
    (({_MAKERS.replace(" ", "[ ]")})(\ (corporation|co\.,?\ ?ltd\.?))?\ )?
        (digital\ (still\ ?)?(camera|image)|exif\ jpeg)
    | sony(\ dsc)? | samsung(\ camera\ pictures)? | minolta(\ dimage[\w\ ]{{0,6}})?
    | exif[_\ -]jpeg(_picture|_\d+)? | jpeg\ (image|picture) | hisilicon\ \w+ | mtk | (oppo|oplus)_\d+
    | (?-i:(b_|r|oz|fpt|fbt)?(dav|hdr|cof|sdr|mde|edf|nor|bty|rbt|btr|ptr|nfd)(HDRB?|CO|pl|bty|nfd)?
        (_(vivid|soft|mono|bokeh|HDRB?|smooth|std|pl))*)  # scenes, on phones
    | ({_KEYS_OF_PHONES})\s*:[^;]*;(\s*[\w-]+\s*:[^;]*;){{2,}}[^;]*
    # programs
    | (created|edited|made|processed|captured|exported|generated|optimi[sz]ed|compressed|shot|saved|shared)
        \ (with|by|in|using|on|from|via)\ ({_PROGRAMS.replace(" ", "[ ]")}){_VERSION}(\ with\ \w{{1,4}}\ preset)?\.?
    | processed\ by\ ebay\ with\ imagemagick.{{0,40}}
    | (picasa|gimp|photoshop|imagemagick|paint\.net|shotwell|acdsee|irfanview)({_VERSION})
    | file\ (written|created)\ by\ adobe\ photoshop.{{0,12}} | (adobe\ )?imageready
    | creator:\ .*\bgd-jpeg\b.* | gd-jpeg\ v.* | intel\(r\)\ jpeg\ library.* | lavc\d+[\d.]* | applemark
    | lead\ technologies(,)?\ inc\.?.{{0,12}} | handmade\ software,\ inc\..* | jpeg\ encoder\ copyright.*
    | acd\ systems\ digital\ imaging | u-?lead\ (systems|jpeg).{{0,12}}
    | cmp\d+(\.\d+)+\w*\ 0x[\da-f]{{8}}
    | (optimized|compressed)\ by\ jpeg\w+.{{0,40}}
    | screen\s?shot(_[\d_-]+\w*)? | screen\ capture | user\ comments? | default | untitled(\ design)? | no\ description
    | ascii | unicode | charset="?(ascii|unicode|undefined)"? | <\?x(ml|packet)\ .*> | binary\ comment
    # names of files, as cameras and phones number them
    | dcim([\\/]\S*)? | \S+\.(jpe?g|heic|png|dng|tiff?|webp)
    | (img|image|imag|dscn?|dscf|_dsc|_mg|pict?|photo|pxl|vid|mvi|sam|cimg|gopr|dji|wp|p|bild|foto)
        [_-]?\d{{3,}}[\d_-]*(wa\d+)?(\(\d+\)|~\d+|\.mp|_(burst|cover|hdr|pano|portrait|edited)\w*)?
    # keys, sums and numbers
    | [\da-f]{{32}} | [\da-f]{{40}} | [\da-f]{{64}} | [\da-f]{{8}}(-[\da-f]{{4}}){{3}}-[\da-f]{{12}}
    | [\w+/-]{{16,}}={{1,2}}
    """,
    re.VERBOSE | re.ASCII | re.IGNORECASE | re.DOTALL,
)
_CHARSET = re.compile(r'charset="?(ascii|unicode|undefined)"?\s+', re.IGNORECASE)
_CONTROLS = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f]")
_WORDLESS = ("C", "N", "P", "Z")  # Unicode categories: control characters, digits, punctuation and spaces


def without_charset(text: str) -> str:
    """A comment without the name of its encoding, which some programs write in front of it."""
    return _CHARSET.sub("", text, count=1) if _CHARSET.match(text) else text


def is_by_people(text: str) -> bool:
    """Whether a text is none that cameras and programs are known to write, and neither binary data nor only digits."""
    if len(_CONTROLS.findall(text.strip("\0"))) > len(text.strip("\0")) // 4:
        return False
    words = " ".join(_CONTROLS.sub(" ", text).split())
    if not any(category(char)[0] not in _WORDLESS or category(char) == "Cn" for char in words):
        return False
    return not _BOILERPLATE.fullmatch(words) and not _is_json(words)


def _is_json(text: str) -> bool:
    """Whether a text is an object in JSON, as some phones note how a photo was processed."""
    if text[0] == "{" and text[-1] == "}":
        with suppress(ValueError, RecursionError):
            return isinstance(json.loads(text), dict)
    return False
