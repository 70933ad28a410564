#!/usr/bin/env python3
"""Turns the numbered migrations into one C file, so that rappelctl carries them.

usage: embed.py OUTPUT.c NNNN_name.sql...
The output defines schema_migrations[] as schema/migrations.h declares it.
"""
import os
import sys


def literal(text):
    for line in text.splitlines(keepends=True):
        escaped = (line.replace('\\', '\\\\').replace('"', '\\"')
                   .replace('\t', '\\t').replace('\n', '\\n'))
        yield f'\t"{escaped}"'


def main():
    output, sources = sys.argv[1], sys.argv[2:]
    rows = []
    for position, path in enumerate(sorted(sources), start=1):
        number, name = os.path.basename(path)[:-len('.sql')].split('_', 1)
        if int(number) != position:
            sys.exit(f'{path}: expected migration number {position:04}')
        with open(path, encoding='utf-8') as source:
            body = '\n'.join(literal(source.read()))
        rows.append(f'{{ {position}, "{name}",\n{body} }},\n')
    with open(output, 'w', encoding='utf-8') as out:
        out.write('/* Made by schema/embed.py from schema/NNNN_*.sql. */\n'
                  '#include "schema/migrations.h"\n\n'
                  'const struct schema_migration schema_migrations[SCHEMA_VERSION] = {\n')
        out.writelines(rows)
        out.write('};\n')


main()
