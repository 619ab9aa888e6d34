# SPDX-License-Identifier: MIT
# Objects, dictionaries, strings and arithmetic, as an ordinary script has them.


class Node:
    def __init__(self, key):
        self.key, self.left, self.right = key, None, None

    def insert(self, key):
        side = "left" if key < self.key else "right"
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Node(key))
        else:
            child.insert(key)


def tree(n):
    root, key = Node(n // 2), 1
    for _ in range(n):
        key = key * 1103515245 + 12345 & 0x7FFFFFFF
        root.insert(key % n)
    return root


def words(n):
    counts = {}
    for i in range(n):
        word = "w" + str(i * 7919 % 5003)
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def primes(n):
    sieve = bytearray([1]) * n
    for i in range(2, n):
        if sieve[i]:
            for j in range(i * i, n, i):
                sieve[j] = 0
    return sum(sieve) - 2


print(tree(12000).key, words(100000)[0], primes(200000))
