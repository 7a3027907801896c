# -*- coding: utf-8 -*-
# Writes safe-config-parser.json beside this file: 300 generated files and what the SafeConfigParser of Python 2.7 makes
# of them. Needed only to extend the cases (the tests read the JSON): python2.7 safe-config-parser.py, then the formatter.
import os
import ConfigParser, StringIO, json, random
random.seed(20140611)
R = random.choice
KEYS = ["root", "Root", "append", "a-b", "x_y", "H", "rem", "remark", "[k", "k]", "key[]", "__proto__", "__name__", "true", "a b", '"q"', "1"]
SECT = ["[state]", "[docker.index]", "[containers.options]", "[DEFAULT]", "[DEFAULT]", "[default]", "[__proto__]", "[a.b.c]", "[a\\.b]", "[ sp ]", "[x]tail", "[s;c]", "[s#c]", "[]", "[open", "[state] ; c", "[1]", "[a=b]", "[toString]", '["q"]', "['q']"]
VALS = ["", '""', "''", "/tmp/deimos", '["-e", "A=B"]', '["-e", "A=B;c"]', '["a ; b"]', "a;b", "a ;b", "a;b ;c", ";c", "; c", "#x", "a #x", "a # x", "50%%", "50%", "%(root)s", "%(ROOT)s/x", "%(append)s%%", "%(no)s", "%(x_y)s", "%(__name__)s", "%(", "%(a-b)s", "true", "null", "false", "a=b", "a:b", "= b", ": b", '"quoted"', "'quoted'", "\\", "a\\;b", "[x]", "k[]", "tab\there", "x\r", "[ \"a\",", "{", "\"open", u"é\u2028\u00a0".encode("utf8"), "[sec]"]
SEP = [":", "=", " : ", " = ", ": ", ":\t", "=:", " =  "]
def line():
    k = random.random()
    if k < .5: return R(KEYS) + R(SEP) + R(VALS) + R(["", "", " ", " ; comment", "\t; c", " # no"])
    if k < .68: return R([" ", "\t", "    "]) + R(VALS + ["# x", "; x", "k: v", "[s]"])
    if k < .86: return R(SECT)
    if k < .9: return ""
    if k < .94: return R(["# c", "; c", "rem", "REM x: y", "Rem\tz", "   ", "rem: y"])
    if k < .96: return R(["no separator", "]", "junk", '"b"]'])
    return R(KEYS) + R([":", "="])
cases = []
while len(cases) < 300:
    n = random.randint(1, 9)
    lines = ([R(SECT[:5])] if random.random() < .9 else []) + [line() for _ in range(n)]
    text = R(["\n", "\n", "\n", "\r\n"]).join(lines) + R(["", "\n"])
    p = ConfigParser.SafeConfigParser()
    case = {"text": text.decode("utf8")}
    try:
        p.readfp(StringIO.StringIO(text))
    except ConfigParser.MissingSectionHeaderError as e:
        case["malformed"] = [e.lineno]
    except ConfigParser.ParsingError as e:
        case["malformed"] = [l for l, _ in e.errors]
    else:
        case["sections"] = {}
        for s in p.sections():
            case["sections"][s] = {}
            for o in p.options(s):
                if o == "__name__": continue
                try: v = p.get(s, o).decode("utf8")
                except ConfigParser.Error: v = None
                case["sections"][s][o] = {"raw": p.get(s, o, raw=True).decode("utf8"), "value": v}
    if "malformed" in case and sum("malformed" in c for c in cases) >= 60: continue
    cases.append(case)
out = "[\n" + ",\n".join(json.dumps(c, sort_keys=True) for c in cases) + "\n]\n"
open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "safe-config-parser.json"), "w").write(out)
