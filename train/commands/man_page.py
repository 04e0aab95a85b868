"""Writes the man page twotower(1) from what the program says of itself: man_page.py PROGRAM > twotower.1"""

import re
import subprocess
import sys

HEAD = r'''.TH TWOTOWER 1 "" "twotower {version}" "User Commands"
.SH NAME
twotower \- trains and serves two-tower retrieval models
.SH SYNOPSIS
.B twotower
.I COMMAND
.RI [ OPTION ]...
.br
.B twotower
.RI [ COMMAND ]
.B \-\-help
.SH DESCRIPTION
A user tower and an item tower meet in an inner product; the items that fit a user are found by maximum inner product
search. The program makes or imports datasets, trains the rungs of the ladder on them (base, history, position, user,
debias, light, kd, reward, aligned), evaluates runs, and serves the bundle that a run leaves: the one file that retrieval needs.
'''
TAIL = r'''.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 2
A mistake of the user's, told on standard error in a line that says where, what and how to mend it.
.TP
.B 1
A failure that is not the user's.
.SH ENVIRONMENT
.TP
.B TWOTOWER_ISA
.BR scalar ", " avx2 " or " avx512 :
the instruction set of the kernels, instead of the widest that the machine has.
.TP
.B OMP_NUM_THREADS
Threads to use where no
.B \-\-threads
says.
'''


def say(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def sections(text):
    """The parts of a help text: {"": what comes first, "Options": [lines], ...}"""
    parts, name = {"": []}, ""
    for line in text.splitlines():
        heading = re.fullmatch(r"(Usage|Positionals|Options|Subcommands|Examples?):(.*)", line)
        if heading:
            name = heading[1].rstrip("s") if heading[1].startswith("Example") else heading[1]
            parts[name] = [heading[2].strip()] if heading[2].strip() else []
        elif line.strip():
            parts[name].append(line)
    return parts


def entries(lines):
    """Each option or command and what it is for, which may stand on the lines below it."""
    out = []
    for line in lines:
        if re.match(r" {2}\S", line):
            term, _, text = line.strip().partition("  ")
            out.append([term, text.strip()])
        elif out:
            out[-1][1] = (out[-1][1] + " " + line.strip()).strip()
    return out


def command_page(program, name, purpose):
    parts = sections(say(program, name, "--help"))
    yield f".SS twotower {escape(name)}"
    yield escape(purpose) + "."
    for kind in ("Positionals", "Options"):
        for term, text in entries(parts.get(kind, [])):
            if not term.startswith("-h,"):
                yield from (".TP", f".B {escape(term)}", escape(text))
    if parts.get("Example"):
        yield from (".PP", "Example:", ".PP", ".nf")
        yield from (escape("  " + line.strip()) for line in parts["Example"])
        yield ".fi"


def main(program):
    overview = sections(say(program, "--help"))
    print(HEAD.format(version=say(program, "--version").strip()), end="")
    print(".SH OPTIONS")
    for term, text in entries(overview["Options"]):
        print(".TP", f".B {escape(term)}", escape(text), sep="\n")
    print(".SH COMMANDS")
    for name, purpose in entries(overview["Subcommands"]):
        print(*command_page(program, name, purpose), sep="\n")
    print(TAIL, end="")


main(sys.argv[1])
