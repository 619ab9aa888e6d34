# SPDX-License-Identifier: MIT
"""The mutants of guest memory's source, and the two lists of them that are kept: those that nobody can see, and who
has noticed the others."""
import collections
import glob
import hashlib
import os
import re

from reached import ROOT, load_apply

EQUIVALENTS = os.path.join(ROOT, 'tests', 'mutants.txt')
JUDGED = os.path.join(ROOT, 'tests', 'mutants-judged.txt')
WITNESSES = ('explorer', 'tests')

functions = load_apply().functions

# ------------------------------------------------------------------ what may be changed

Mutant = collections.namedtuple('Mutant', 'id path function line kind before after count')

LOCK = re.compile(r'\b(mutex|rwlock)_\w*lock\(|mmu_(un)?lock_|lock_shared\(|sync_rcu_read_')
FENCE = re.compile(r'\bsync_mb\(\)')
SWAPS = [  # kind, what, by what
    ('comparison', r' < ', ' <= '), ('comparison', r' <= ', ' < '), ('comparison', r' > ', ' >= '),
    ('comparison', r' >= ', ' > '), ('comparison', r' == ', ' != '), ('comparison', r' != ', ' == '),
    ('bound', r' - 1\b', ''), ('bound', r' \+ 1\b', ''), ('bound', r'\bMIN\(', 'MAX('), ('bound', r'\bMAX\(', 'MIN('),
    ('condition', r' && ', ' || '), ('condition', r' \|\| ', ' && '), ('condition', r'(?<=[( ])!(?=[\w(])', ''),
    ('flag', r' \| [A-Z_]+\b', ''), ('flag', r'\bMMU_REQ_FLUSH\b', 'MMU_REQ_CODE'),
    ('flag', r' & ~[A-Z_(]\w*\)*', ''), ('flag', r'\|= ', '= '),
    ('return', r'return true;', 'return false;'), ('return', r'return false;', 'return true;'),
    ('return', r'return -E\w+;', 'return 0;'), ('return', r'= -E\w+;', '= 0;'),
]
STATEMENT = re.compile(r'^\t+[A-Za-z_*(+][^;{}]*;$')
NO_STATEMENT = re.compile(r'^\t+(return|goto|break|continue|struct|u64|u32|u8|int|bool|unsigned|enum|const|'
                          r'gfn_t|hva_t|gpa_t|static|void|size_t|assert|while|do|else|if|for|char)\b')
BOOKS = re.compile(r'stat\b|->stat\.|assert\(|_Static_assert|mmu_report|statpage')


def statement(line):
    return STATEMENT.match(line) and not NO_STATEMENT.match(line) and line.count('(') == line.count(')')


def kind_of(line):
    if FENCE.search(line):
        return 'fence'
    if LOCK.search(line):
        return 'lock'
    return 'assignment' if re.search(r'[^=!<>]=[^=]|\+\+|--', re.sub(r'\(.*\)', '', line)) else 'call'


def changes(lines, i, end):
    """(kind, lines that stand for line i, how many lines they stand for)"""
    line = lines[i]
    if BOOKS.search(line):
        return
    if statement(line):
        yield kind_of(line), [re.match(r'\t+', line).group() + ';'], 1
        nxt = lines[i + 1] if i + 1 < end else ''
        before = lines[i - 1]
        alone = before.endswith((';', '{', '}')) or not before
        # Of two that call nothing, only a race that the sanitizer finds could tell the order.
        if alone and ('(' in line or '(' in nxt) and statement(nxt) and not BOOKS.search(nxt) and \
                re.match(r'\t+', nxt).group() == re.match(r'\t+', line).group():
            yield 'order', [nxt, line], 2
    code = re.sub(r'"[^"]*"', lambda m: '"' + ' ' * (len(m.group()) - 2) + '"', line)
    for kind, what, by in SWAPS:
        for m in re.finditer(what, code):
            yield kind, [line[:m.start()] + by + line[m.end():]], 1
    m = re.match(r'^(\t+(?:} else )?if )\((.*)\)( \{)?$', line)
    if m:
        yield 'check', [f'{m.group(1)}((0) && ({m.group(2)})){m.group(3) or ""}'], 1


def mutants_of(path):
    lines = open(os.path.join(ROOT, path), encoding='utf-8').read().split('\n')
    comment = False
    found = []
    for name, (_, body, end) in functions(lines).items():
        seen = collections.Counter()
        for i in range(body + 1, end - 1):
            stripped = lines[i].strip()
            comment = comment or stripped.startswith('/*')
            if comment or not stripped:
                comment = comment and '*/' not in stripped
                continue
            for kind, after, size in changes(lines, i, end):
                before = [t.strip() for t in lines[i:i + size]]
                key = (kind, ' '.join(before), ' '.join(t.strip() for t in after))
                seen[key] += 1
                text = '\0'.join((path, name) + key + (str(seen[key]),))
                found.append(Mutant(hashlib.sha1(text.encode()).hexdigest()[:10], path, name, i, kind,
                                    before, after, size))
    return found


def files(names):
    every = sorted(glob.glob('src/mmu/*.c', root_dir=ROOT) + glob.glob('src/primary/linux/*.c', root_dir=ROOT))
    return [f for f in every if not names or any(n in f for n in names)]


def all_mutants(names=()):
    return [m for f in files(names) for m in mutants_of(f)]


def text_of(m):
    lines = open(os.path.join(ROOT, m.path), encoding='utf-8').read().split('\n')
    return '\n'.join(lines[:m.line] + m.after + lines[m.line + m.count:])


# ------------------------------------------------------------------ equivalents

def equivalents():
    """id -> reason. A line names a mutant by file, function, and the lines before and after."""
    out = {}
    if not os.path.exists(EQUIVALENTS):
        return out
    for line in open(EQUIVALENTS, encoding='utf-8'):
        if line.strip() and not line.startswith('#'):
            ident, reason = line.rstrip('\n').split(None, 1)
            out[ident] = reason
    return out


# ------------------------------------------------------------------ verdicts

# A mutant's verdicts are {witness: what it noticed}, '' where it noticed nothing; a witness that was not asked is left
# out. In the list a mutant has one line: who noticed it last, and what (a scenario, a test, a signal).
BROKEN = ('does not compile', 'does not link')
JUDGED_HEAD = """# Who has noticed each mutant that tools/mutate run has tried: ID, then the witness and by what; docs/explorer.md.
# nobody: no witness did. missed: the explorer did not, and the tests have not been asked. build: the compiler refuses it.
"""


def read_verdict(line):
    ident, who, *what = line.split()
    if who == 'missed':
        return ident, {'explorer': ''}
    if who == 'nobody':
        return ident, {'explorer': '', 'tests': ''}
    if who == 'build':
        return ident, {'explorer': BROKEN[0]}
    return ident, {**({'explorer': ''} if who == 'tests' else {}), who: ' '.join(what)}


def verdict_line(ident, v):
    noticed_by = next((w for w in WITNESSES if v.get(w)), None)
    if noticed_by and v[noticed_by] in BROKEN:
        return f'{ident} build'
    if noticed_by == 'explorer':
        return f"{ident} explorer {v['explorer'].partition(':')[0]}"
    if noticed_by:
        return f"{ident} tests {v['tests']}"
    return f"{ident} {'nobody' if 'tests' in v else 'missed'}"


def verdicts():
    if not os.path.exists(JUDGED):
        return {}
    with open(JUDGED, encoding='utf-8') as f:
        return dict(read_verdict(line) for line in f if line.strip() and not line.startswith('#'))


def keep(known, there):
    """Write the list anew, less the mutants that are not there any more and those that turned out equivalents."""
    same = equivalents()
    with open(JUDGED + '.new', 'w', encoding='utf-8') as f:
        f.write(JUDGED_HEAD)
        f.writelines(verdict_line(i, v) + '\n' for i, v in sorted(known.items()) if i in there and i not in same)
    os.replace(JUDGED + '.new', JUDGED)
