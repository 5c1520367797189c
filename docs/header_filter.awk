# gptq.h as Doxygen wants it: the comment at its top describes the file, a comment behind code belongs to that code, and
# the headings between rules are groups.
NR == 1 && sub(/^\/\* gptq\.h - /, "") { print "/** @file"; print " * " toupper(substr($0, 1, 1)) substr($0, 2); top = 1; next }
top && /SPDX-License/ { next }
top && /^ \*   / && !code { print " * @code{.c}"; code = 1 }
top && code && !/^ \*   / { print " * @endcode"; code = 0 }
/\*\// { top = 0 }
/^\/\* ---- .* -+ \*\/$/ {
  sub(/^\/\* -+ /, ""); sub(/ -+ \*\/$/, "")
  if (group) print "/** @} */"
  print "/** @name " $0 " */"; print "/** @{ */"
  group = 1
  next
}
/^#ifdef __cplusplus/ && group { print "/** @} */"; group = 0 }
/^(#define|typedef).*[^ ] +\/\* / { sub(/\/\* /, "/**< ") }
/^#define GPTQ_API/ { next }
{ print }
