#!/usr/bin/env python3
"""Makes templates.json: small templates, and what Jinja prints for them as transformers sets it up.

usage: make_templates.py > templates.json        (needs transformers and jinja2; made with 5.23.0 and 3.1.6)
A row has "template", "rendered" or "error"; all have the variables of VARIABLES.
"""
import json
import sys

from transformers.utils import chat_template_utils

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi <b> & 'you'"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": {"x": 1, "y": [1.5, None, True]}}]},
        {"role": "tool", "content": "naïve 你好 🙂"},
    ],
    "tools": [],
    "n": 7, "x": -2.5, "big": 1e16, "tiny": 1e-5, "yes": True, "nothing": None, "empty": "", "word": "straße ΑΣ ﬁn",
    "s": "  a,b ,c  ", "list": [3, 1, 2], "mixed": ["b", "A", "c", "a"], "nested": {"b": {"c": [10, 20, {"d": "deep"}]}, "A": 1},
    "rows": [{"k": "x", "v": 2, "t": True}, {"k": "y", "v": 1, "t": False}, {"k": "X", "v": 3}],
    "quotes": "it's \"q\" \\ \n\t\x01é\u200b", "bos_token": "<s>",
}  # fmt: skip

EXPRESSIONS = """
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2
2 ** 10, 2 ** -1, -2 ** 2, 2 ** 3 ** 2
1 / 0
1 // 0
10 % 0
1.0, 1e3, 1e16, 1.5e-7, 0.1 + 0.2, 100.0, 123456789.123, big, tiny, 1e22, 3.0e-5, -0.0
9007199254740993, 0x1F, 0b101, 0o17, 1_000
'a' + 'b' ~ 1 ~ none ~ true ~ 2.0
'a' + 1
1 + 'a'
[1] + [2, 3], (1,) + (2,)
[1] + (2,)
'ab' * 3, 3 * 'ab', [0] * 3, 'x' * -1
'ab' * 'c'
none + 1
undefined_name
undefined_name + 1
undefined_name.attribute
undefined_name['x']
undefined_name()
nested.nope
nested.nope.deeper
messages[9]
messages[9].role
n.real_part
nothing.x
nothing.x.y
'abc'.nope
'abc'.nope()
list.append(4)
list.pop
list.pop is defined
nested.update
nested.clear()
nested.__class__
nested.items()
nested.keys(), nested.values()
nested.items
nested['items']
nested.get('b'), nested.get('zz'), nested.get('zz', 5)
nested.b.c[2].d, nested['b']['c'][-1]['d'], nested.b.c.0
1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, true == 1, 'a' < 'b', [1, 2] < [1, 3], 'a' == 1, none == none
1 < 'a'
[1] < 'a'
none < 1
undefined_name < 1
undefined_name == undefined_other, undefined_name == none
1 in list, 9 in list, 9 not in list, 'a' in 'cat', 'b' in nested, 'zz' not in nested
1 in 'cat'
1 in 5
'a' in undefined_name
not 1, not 0, not '', not none, not [], not {}, not undefined_name
1 and 2, 0 and 2, 1 or 2, 0 or '', none or 'd', '' and 1
1 if true else 2, 1 if false else 2
1 if false
(1 if false).x
[1, 'a', none, true, 2.5, {'k': 'v', 1: [2]}, (1,), (), (1, 2)]
{'a': 1, 'a': 2}
{'b': 1, 2: 'x', none: 1, true: 0}
{'a': quotes}
quotes
[quotes]
['it\\'s', "say \\"x\\"", 'both \\' "', '\\u00e9\\x41\\101\\n']
"a" "b" 'c'
'\\q \\\\ \\t|'
word|upper, word|lower, word|title, word|capitalize
'ÀB c-d (e) [f] x1y'|title, 'hELLO wORLD'.title(), "they're".title(), 'hELLO'.swapcase()
s|trim, s|trim('a '), s.strip(), s.lstrip(), s.rstrip(), s.strip(' ,abc')|length
s.split(','), s.split(), s.split(',', 1), 'a,,b'.split(','), ''.split(','), ''.split(), ' a  b c '.split(none, 1), 'abc'.split('b')[0]
'a b'.split('')
s.rsplit(',', 1), 'a.b.c'.rsplit('.', 1), ' a  b c '.rsplit(none, 1), 'abc'.rsplit('x', 2)
'a\\nb\\r\\nc\\n'.splitlines(), 'a\\nb'.splitlines(true)
'a=b=c'.partition('='), 'a=b=c'.rpartition('='), 'abc'.partition('='), 'abc'.rpartition('=')
'banana'.replace('a', 'o'), 'banana'.replace('a', 'o', 2), 'abc'.replace('', '-'), 'banana'|replace('an', 'AN'), 'banana'|replace('an', 'AN', 1), 5|replace(5, 6)
'banana'.find('an'), 'banana'.rfind('an'), 'banana'.find('x'), 'banana'.index('n'), 'banana'.count('an'), 'banana'.count(''), '你好吗'.find('吗')
'banana'.index('x')
'abc'.startswith('a'), 'abc'.endswith(('x', 'c')), 'abc'.startswith('b', 1), ''.startswith('')
'abc'.startswith(1)
'-'.join(['a', 'b']), '-'.join('abc'), ''.join([])
'-'.join([1])
'abc'.center(9, '*'), 'abc'.ljust(5) ~ '|', 'abc'.rjust(5), '42'.zfill(5), '-42'.zfill(5), 'ab'.center(5), 'abc'.center(6), 'x'|center(5) ~ '|'
'abc'.isalpha(), 'ab1'.isalnum(), '12'.isdigit(), '²'.isdigit(), '½'.isnumeric(), ' '.isspace(), 'Ab'.isupper(), 'AB'.isupper(), 'ab'.islower(), 'Ab Cd'.istitle(), ''.isalpha()
'prefix-x'.removeprefix('prefix-'), 'x.txt'.removesuffix('.txt')
'{} {1} {a}'.format(1, 2, a=3)
'{} {} {a!r} {b:>5}|{c:.2f}|{d:05d}|{e:,}|{f:x}|{0[k]}'.format(1, 'x', a='q', b='w', c=3.14159, d=42, e=1234567, f=255)
'{0[k]} {0.k}'.format(nested)
'{{}} {}'.format('x')
'{}'.format()
'{x}'.format()
'%s and %d and %.2f and %5s|%-5s|%05d %%' % ('a', 3, 2.5, 'b', 'c', 42)
'%s' % 'x', '%s' % [1], '%(a)s' % {'a': 1}, '%r' % 'q', '%x' % 255
'%d' % 'x'
'%s %s' % ('a',)
'%s' % ('a', 'b')
'%s-%s'|format(1, 'b')
list|length, 'naïve🙂'|length, nested|length, ''|length, undefined_name|length
n|length
nothing|length
list|first, list|last, []|first, []|last, 'abc'|first, 'abc'|last, nested|first
n|first
list|sort, list|sort(reverse=true), mixed|sort, mixed|sort(case_sensitive=true), rows|map(attribute='v')|sort, rows|sort(attribute='v')|map(attribute='k')|list
[1, 'a']|sort
rows|sort(attribute='k,v')|map(attribute='v')|join(',')
list|join, list|join('-'), rows|join('|', attribute='k'), nested|join(','), [none, true, 1.0, 'x']|join(' ')
n|join
list|reverse|list, 'abc'|reverse, list|reverse
list|reverse|tojson
list|min, list|max, mixed|min, mixed|max, []|max, rows|max(attribute='v')
list|sum, rows|sum(attribute='v'), []|sum, [1.5, 2]|sum(start=10), rows|sum(attribute='zz')
mixed|unique|list, [1, 1.0, true, 2]|unique|list, rows|unique(attribute='k')|map(attribute='v')|list
[[1]]|unique|list
[1, 2, 3, 4, 5]|batch(2)|list, [1, 2, 3]|batch(2, 0)|list, [1, 2, 3, 4, 5]|slice(3)|list, [1, 2, 3, 4]|slice(3, 'f')|list
rows|groupby('t', default=none)|list
rows|groupby('k')|map('first')|list
nested|dictsort, nested|dictsort(true), {'a': 2, 'b': 1}|dictsort(by='value'), {'a': 2, 'b': 1}|dictsort(reverse=true)
list|dictsort
nested|dictsort(by='q')
nested|items|list
list|items
list|items|list
undefined_name|items|list
undefined_name|items
rows|selectattr('t')|map(attribute='k')|list, rows|rejectattr('t')|map(attribute='k')|list
rows|selectattr('v', 'gt', 1)|list|length, rows|selectattr('k', 'equalto', 'y')|list, rows|selectattr('t', 'defined')|list|length, rows|rejectattr('t', 'undefined')|list|length
rows|selectattr('k', 'in', ['x'])|list, rows|selectattr('k', '==', 'x')|list|length
rows|selectattr('k', 'nope')|list
rows|selectattr()|list
list|select('odd')|list, list|reject('odd')|list, [0, 1, '', 'a']|select|list, list|select('divisibleby', 3)|list, list|select('>', 1)|list
mixed|map('upper')|list, mixed|map('replace', 'a', 'z')|join, rows|map(attribute='zz', default='d')|list, ['1', 'x']|map('int', -1)|list, rows|map(attribute='zz')|list
mixed|map('nope')|list
mixed|map|list
mixed|map(attribute='a', b=1)|list
rows|map(attribute='v')
rows|map(attribute='v')|tojson
nested.items()|tojson
nested.keys()|tojson
undefined_name|tojson
list|nope
list is nope
list|tojson, nested|tojson, quotes|tojson, [1.0, 1e20, none, true, 'é', {'1': 2}]|tojson, {1: 1, none: 2, true: 3, 1.5: 4}|tojson, []|tojson, {}|tojson, (1, 2)|tojson, 'a/b<c>&\\''|tojson
nested|tojson(indent=2)
[]|tojson(indent=2), [[], {}]|tojson(indent=1)
nested|tojson(separators=(',', ':'))
{'b': 1, 'a': 2}|tojson(sort_keys=true)
'é🙂\\x7f'|tojson(ensure_ascii=true), 'é🙂\\x7f'|tojson
nested|tojson(indent='\\t')
nested|tojson(nope=1)
'a\\nb\\n\\nc'|indent, 'a\\nb\\n\\nc'|indent(2, true), 'a\\nb\\n\\nc'|indent(2, blank=true), 'a\\nb'|indent('> '), ''|indent, 'a\\n'|indent
5|indent
'12'|int, ' 12 '|int, '1.9'|int, 'x'|int, 'x'|int(5), '0x1f'|int(0, 16), 'ff'|int(0, 16), 3.9|int, -3.9|int, true|int, none|int, [1]|int, '1e3'|int, '1_0'|int, '-7'|int, '+7'|int
undefined_name|int
'1.5'|float, 'x'|float, 'x'|float(2), 3|float, none|float, 'inf'|float, '1e400'|float, 'nan'|float, '1_0.5'|float
x|abs, -3|abs, true|abs
'a'|abs
2.5|round, 3.5|round, 2.675|round(2), 42|round, 42.55|round(1, 'floor'), 42.51|round(1, 'ceil'), -2.5|round, 1234|round(-2), 1250.0|round(-2), 1e300|round(2)
'a'|round
2.5|round(0, 'bad')
nothing|default('d'), undefined_name|default('d'), ''|default('d', true), 0|d(5, true), undefined_name|default, nested.q|default(nested.b.c[0])
n|string ~ 'x', none|string, 1.0|string|length, list|string
'<b>'|escape, '<b>'|e ~ '<c>', '<b>'|safe, ('<b>'|safe) + '<c>', ('<b>'|safe) ~ '<c>', '<c>' + ('<b>'|safe), ['<', '>'|safe]|join('&'), ('<'|safe).replace('<', '&'), ('a<'|safe)|upper
[('<b>'|safe)]
'one two three four'|truncate(11), 'one two three four'|truncate(11, true), 'one two'|truncate(11), 'one two three four'|truncate(9, false, '…', 0)
'a b_c d-e'|wordcount
nested|attr('b'), 'x'|attr('nope'), nested|attr('keys')
'abc'[0], 'abc'[-1], 'abc'[1:], 'abc'[:-1], 'abc'[::-1], 'abc'[::2], 'naïve🙂x'[3:6], '🙂é'[::-1], 'abc'[5], 'abc'[5:], 'abc'[-5:2]
list[0], list[-1], list[1:], list[:-1], list[::-1], list[::2], list[5:], list[-2:], (1, 2, 3)[1:], list[10:0:-1], list[0:10:2]
list['a'], list[1.0], list[none], list[true]
list[::0]
list['a':]
nothing[0]
nothing[1:]
undefined_name[1:]
nested[1:]
range(5)|list, range(2, 5)|list, range(5, 0, -2)|list, range(0)|list, range(3), range(1, 4, 2), range(3)|length, range(5)[1:3]|list, range(3)[1], 2 in range(3)
range(200000)|list
range(1, 2, 0)
range('a')
dict(a=1, b=2), dict({'x': 1}, y=2), dict([('a', 1), ('b', 2)]), dict()
dict([1])
namespace(a=1).a, namespace(a=1).b is defined, namespace({'q': 1}).q, namespace(a=1)
raise_exception('no ' ~ n)
raise_exception()
strftime_now('%Y') is string
n is defined, nope is defined, nope is not defined, nope is undefined, n is not undefined, nothing is none, n is not none
'a' is string, n is string, n is number, x is number, true is number, n is integer, true is integer, x is float, true is boolean, 1 is boolean, true is true, 1 is true, false is false, 0 is false
list is iterable, 'a' is iterable, n is iterable, nested is mapping, list is mapping, list is sequence, 'a' is sequence, nested is sequence, n is sequence, nope is iterable, nope is sequence, range(3) is sequence, nested.items() is sequence, (list|map('string')) is sequence, (list|map('string')) is iterable
n is odd, n is even, n is divisibleby 7, n is divisibleby(2), n is eq 7, n is equalto(7), n is ne 7, n is gt 5, n is ge 7, n is lt 5, n is le 7, n is greaterthan 5, n is lessthan 5, n is in [7], n is not in [7], n is sameas 7, none is sameas none
'abc' is lower, 'ABC' is upper, 'tojson' is filter, 'nope' is filter, 'odd' is test, nested.get is callable, n is callable, '<'|safe is escaped, 'x' is escaped
nope is odd
'a' is odd
messages[0].role == 'system' and messages[0]['content'] is string
messages|length > 3, messages[-1].content, messages[1:]|map(attribute='role')|join(','), messages|selectattr('role', 'equalto', 'user')|first
messages[2].tool_calls[0].arguments|tojson, messages[2].content
messages[2].content + 'x'
messages[0].nope + 'x'
messages[0].content.upper().lower().split()|last
(messages|first).role, (1, 2)|first, [1, 2][0]
list|map('string')|join('')|int + 1
n.bit_length
true and not false or false, not (1 in list and 9 in list)
-n, +n, -x, - -n, -'a'
-none
n|tojson|tojson, none|tojson, true|tojson, undefined_name|default(none)|tojson
{'a': 1}.a, {'a': {'b': 2}}.a.b, {'get': 1}.get('get'), {'items': 1}['items'], {'items': 1}.items()|list
'a'|upper|lower ~ 'B'|lower, ('a' ~ 'b')|upper, 'a' ~ 'b'|upper
[1, 2, 3,], (1,), {'a': 1,}
list|map('float')|list|tojson, list|map('abs')|sum
'x'.join
'a'.encode
list.count(1), list.index(2), (1, 2).count(1), nested.copy(), list.copy()
list.index(99)
nested.get()
nested.get(1, 2, 3)
nested.get([1])
n()
'abc'()
'é' < 'z', 'Z' < 'a', '' < 'a'
{'a': [1, {'b': none}]} == {'a': [1, {'b': none}]}, [1, 2] == (1, 2), 'a' != 'b', nested == nested, {1: 2} == {1.0: 2.0}
99999999999 * 99999
1e308 * 10, -1e308 * 10
1.5|int, 1e3|int
list | list | length, list|count
['a', 'b']|join(', ')|upper|length
'a' if n > 5 else 'b' if n > 3 else 'c'
('a' if n > 9) ~ 'z'
loop
loop.index
caller
varargs
"""  # noqa: E501

STATEMENTS = [
    "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}|{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ loop.nextitem.role if not loop.last else '-' }} {% endfor %}",
    "{% for m in messages %}{{ loop.nextitem }}{{ loop.previtem }}{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index }}/{{ loop.length }}{{ m.role }}{{ loop.last }} {% else %}none{% endfor %}",
    "{% for m in messages if m.role == 'zz' %}x{% else %}none{% endfor %}",
    "{% for m in [] %}x{% else %}none{{ n }}{% endfor %}",
    "{% for k, v in nested.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in nested | dictsort %}{{ k }};{% endfor %}",
    "{% for k in nested %}{{ k }};{% endfor %}{% for c in 'aé🙂' %}{{ c }}.{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for a, b in [[1]] %}{% endfor %}",
    "{% for a, b in [1] %}{% endfor %}",
    "{% for i in n %}{% endfor %}",
    "{% for i in nothing %}{% endfor %}",
    "{% for i in nope %}x{% endfor %}ok",
    "{% for i in nope.nope %}x{% endfor %}ok",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }}{{ loop.index }} {% endfor %}{{ loop.index }}|{% endfor %}",
    "{% set ns = namespace(c=0, l=[]) %}{% for i in list %}{% set ns.c = ns.c + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.c }} {{ ns.l }}",
    "{% set x = 1 %}{% for i in list %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% if true %}{% set y = 1 %}{% endif %}{{ y }}",
    "{% for i in [1] %}{% set y = 1 %}{% endfor %}{{ y is defined }}",
    "{% for i in [1, 2] %}{{ q is defined }}{% set q = i %}{{ q }}{% endfor %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = (3, 4) %}{{ c }}{{ d }}{% set e = 1, %}{{ e }}",
    "{% set a, b = [1] %}",
    "{% set ns = namespace() %}{% set ns.a, z = 1, 2 %}{{ ns.a }}{{ z }}",
    "{% set nested.q = 1 %}",
    "{% set nope.q = 1 %}",
    "{% set t %}a {{ n }} b{% endset %}[{{ t }}]{{ t|length }}",
    "{% set t | upper | trim %}  abc {{ n }} {% endset %}[{{ t }}]",
    "{% filter upper %}abc {{ word }}{% endfilter %}",
    "{% filter replace('a', 'b') | upper %}banana{% endfilter %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% set n = 9 %}{{ n }}{% endwith %}{{ n }}{{ a is defined }}",
    "{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(c=5, a=4) }}{{ m() }}{{ m(1)|length }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in {{ n }}{% endcall %}",
    "{% macro m(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) m(list) %}<{{ x }}>{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro f(d) %}{% if d is mapping %}{{ '{' }}{% for k, v in d.items() %}{{ k }}:{{ f(v) }}{{ ',' if not loop.last }}{% endfor %}{{ '}' }}{% elif d is iterable and d is not string %}[{% for v in d %}{{ f(v) }}{{ ',' if not loop.last }}{% endfor %}]{% else %}{{ d|tojson }}{% endif %}{% endmacro %}{{ f(nested) }}{{ f(messages) }}",
    "{% set g = 1 %}{% macro m() %}{{ g }}{% set g = 5 %}{{ g }}{% endmacro %}{{ m() }}{% set g = 2 %}{{ m() }}{{ g }}",
    "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro a() %}a{{ b() }}{% endmacro %}{% macro b() %}b{% endmacro %}{{ a() }}",
    "{{ m() }}{% macro m() %}x{% endmacro %}",
    "{% if n > 5 %}big{% elif n > 3 %}mid{% else %}small{% endif %}",
    "{% if nope %}a{% elif not nope %}b{% endif %}",
    "{% if list|map('string') %}generator is true{% endif %}",
    "{% set g = list|map('string') %}{{ g|join }}|{{ g|join }}|{% for i in g %}x{% endfor %}",
    "{% set g = rows|selectattr('t') %}{% for r in g %}{{ loop.length }}{{ loop.last }}{% endfor %}",
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n  {% if true %}\n  b\n  {% endif %}  \nc\n\n",
    "a  {%- if true -%}  b  {%- endif -%}  c",
    "a\n  {%+ if true %}b{% endif +%}\nc",
    "a\n  {{ n }}\n  {{- n -}}\n  b",
    "a\n  {# comment #}\nb {#- c -#} d\n{# {{ n }} {% if %} #}\ne",
    "a {# x\ny #}\n  b {#+ z +#}\nc",
    "{% raw %}{{ n }} {% if %}{% endraw %}!",
    "a  {%- raw -%}  {{ x }}  {%- endraw -%}  b\n  {% raw %}\n c{% endraw %}\n",
    "\n\n{% set a = 1 %}\n\n{{ a }}\n",
    "x\r\n{% set a = 1 %}\r\ny\rz",
    "{{ '{{' }} {{ '%}' }} { {{ '}' }}} }} %} #}",
    "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{%if n%}x{%endif%}{%-for i in list-%}{{i}}{%-endfor-%}",
    "{% print n, 'a' %}",
    "{% generation %}x{{ n }}{% set q = 1 %}{% endgeneration %}{{ q is defined }}",
    "{% block a %}x{{ n }}{% endblock %}",
    "{%- for m in messages %}\n    {%- if m.role == 'user' %}\n        {{- '<|user|>' + m.content }}\n    {%- endif %}\n{%- endfor %}\n",
    "{% for m in messages %}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role == 'user') }}{{ loop.depth }}{% endfor %}",
    "{% for i in list recursive %}{% endfor %}{{ 1 }}" if False else "{{ list | join(',') if list else 'x' }}",
    "{% set ns = namespace(f=true) %}{% for i in range(6) if ns.f %}{{ i }}{% if i == 2 %}{% set ns.f = false %}{% endif %}{% endfor %}",
    "{% set loop_messages = messages[1:] if messages[0].role == 'system' else messages %}{% for m in loop_messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}{{ m.role }}{% endfor %}",
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim if m['content'] else '' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    # what is no template
    "{{ ", "{% if %}", "{% if n %}", "{% endif %}", "{% foo %}", "{{ 1 + }}", "{{ (1 }}", "{{ 1 ) }}", "{% for %}", "{% for i list %}{% endfor %}",
    "{{ 'abc }}", "{# x", "{% raw %}x", "{{ a..b }}", "{{ n ! }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% break %}",
    "{{ f(a=1, 2) }}", "{{ n | }}", "{{ n is }}", "{% else %}", "{% call n %}{% endcall %}", "{{ {'a' 1} }}", "{{ [1 2] }}", "{% for i in [1] %}{% endif %}", "{{ }}", "{% set x %}",
]  # fmt: skip


def rows():
    for line in EXPRESSIONS.strip().splitlines():
        yield "{{ " + line + " }}"
    yield from STATEMENTS


def main():
    out = []
    for text in rows():
        row = {"template": text}
        try:
            row["rendered"] = chat_template_utils._compile_jinja_template(text).render(**VARIABLES)
        except Exception as error:  # whatever it is, it is what there is to expect
            row["error"] = f"{type(error).__name__}: {error}"
        if " at 0x" not in row.get("rendered", ""):  # an address is another one each time
            out.append(row)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in out)
    sys.stdout.write('{"variables": ' + json.dumps(VARIABLES, ensure_ascii=False) + ',\n"cases": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
