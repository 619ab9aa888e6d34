# SPDX-License-Identifier: MIT
"""Which lines of the source programs that are built with gcov have come to."""
import gzip
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GCC = ['-O0', '-g', '--coverage']


def load_apply():
    """src/explore/defects/apply, which knows where functions begin and end."""
    path = os.path.join(ROOT, 'src/explore/defects/apply')
    loader = importlib.machinery.SourceFileLoader('apply', path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('apply', loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def counts(data, folder, wanted):
    """path -> gcov's lines of that source, of the .gcda files in data, which lie in folder. Only paths below
    ROOT that wanted() wants."""
    p = subprocess.run(['gcov', '--branch-probabilities', '--json-format', '--stdout'] + data, cwd=folder,
                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    raw = p.stdout if p.stdout[:1] == b'{' else gzip.decompress(p.stdout)
    found = {}
    for text in raw.splitlines():
        for f in json.loads(text)['files'] if text.strip() else []:
            path = os.path.relpath(os.path.realpath(os.path.join(folder, f['file'])), os.path.realpath(ROOT))
            if wanted(path):
                found.setdefault(path, []).extend(f['lines'])
    return found
