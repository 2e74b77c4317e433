package gate

import (
	"slices"
	"strings"
	"testing"
)

// FuzzAccessCookies: the quick search finds the cookies that reading them one by one
// finds, in their order.
func FuzzAccessCookies(f *testing.F) {
	for _, seed := range []string{
		"axra_t_1=a; axra_t_1=b", "x=y; __Host-axra_t_0123abcd=\"a.b.c\" ;q=1", "x=axra_t_1=a", "axra_t_", "axra_t_=;", ";;axra_t_1",
		"a=1;\taxra_t_1=2\n; \u00a0axra_t_2=3", "axra_t_axra_t_=axra_t_", "=axra_t_1", " axra_t_1 = a", "axra_t_1=a\nx=axra_t_2=b; y",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		headers := strings.Split(lines, "\n")
		var want, got []string
		for pair := range strings.FieldsFuncSeq(lines, func(c rune) bool { return c == ';' || c == '\n' }) {
			name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if ok && strings.Contains(name, accessCookieMark) && len(want) < 8 {
				want = append(want, name, strings.Trim(value, `"`))
			}
		}
		EachAccessCookie(headers, func(name, value string) bool {
			got = append(got, name, value)
			return len(got) < 8
		})
		if !slices.Equal(got, want) {
			t.Fatalf("%q: found %q, want %q", lines, got, want)
		}
	})
}
