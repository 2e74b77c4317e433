package session

import (
	"net/url"
	"strings"
	"testing"
)

func TestSourcesOfAPolicy(t *testing.T) {
	for _, row := range []struct {
		hosts CheckoutHosts
		want  string
	}{
		{CheckoutHosts{Hosts: []string{"pay.useaxra.com"}}, "https://pay.useaxra.com"},
		{CheckoutHosts{Hosts: []string{"*.useaxra.com", "c.example:8443"}}, "https://*.useaxra.com https://c.example:8443"},
		{CheckoutHosts{Hosts: []string{"localhost:8403"}, Insecure: true}, "http://localhost:8403"},
		{CheckoutHosts{Hosts: []string{"[::1]:9000"}, Insecure: true}, "http:"},
	} {
		if got := strings.Join(row.hosts.Sources(), " "); got != row.want {
			t.Errorf("%v: %q, want %q", row.hosts, got, row.want)
		}
	}
}

func TestP7CheckoutHosts(t *testing.T) {
	live := CheckoutHosts{Hosts: []string{"pay.useaxra.com"}}
	wild := CheckoutHosts{Hosts: []string{"*.useaxra.com"}}
	several := CheckoutHosts{Hosts: []string{"a.example", "B.example", "c.example:8443"}}
	local := CheckoutHosts{Hosts: []string{"localhost:9000", "127.0.0.1:9000", "[::1]:9000"}, Insecure: true}
	for _, test := range []struct {
		name    string
		allowed CheckoutHosts
		url     string
		want    bool
	}{
		{"the host", live, "https://pay.useaxra.com/c/1?t=2#f", true},
		{"with its port", live, "https://pay.useaxra.com:443/", true},
		{"another port", live, "https://pay.useaxra.com:8443/", false},
		{"http", live, "http://pay.useaxra.com/", false},
		{"javascript", live, "javascript:alert(1)", false},
		{"nothing", live, "", false},
		{"a user", live, "https://user@pay.useaxra.com/", false},
		{"the host as a user", live, "https://pay.useaxra.com@evil.example/", false},
		{"the host as a subdomain", live, "https://pay.useaxra.com.evil.example/", false},
		{"the host as a suffix", live, "https://evilpay.useaxra.com/", false},
		{"a look-alike", live, "https://pаy.useaxra.com/", false}, // with a Cyrillic a

		{"a subdomain of a wildcard", wild, "https://pay.useaxra.com/", true},
		{"the domain itself", wild, "https://useaxra.com/", false},
		{"a dot before it", wild, "https://.useaxra.com/", false},
		{"no dot before it", wild, "https://eviluseaxra.com/", false},
		{"a star alone stands for nothing", CheckoutHosts{Hosts: []string{"*"}}, "https://evil.example/", false},
		{"a star and a dot alone stand for nothing", CheckoutHosts{Hosts: []string{"*."}}, "https://evil.example./", false},

		{"configured in upper case", several, "https://b.example/", true},
		{"a configured port", several, "https://c.example:8443/", true},
		{"its host without the port", several, "https://c.example/", false},
		{"no hosts at all", CheckoutHosts{}, "https://pay.useaxra.com/", false},

		{"loopback, http", local, "http://localhost:9000/checkout", true},
		{"IPv6 loopback", local, "http://[::1]:9000/", true},
		{"insecure is not for any host", local, "http://evil.example/", false},
	} {
		target, err := url.Parse(test.url)
		if err != nil || test.allowed.Allow(target) != test.want {
			t.Errorf("%s: %s is allowed: %t, %v", test.name, test.url, !test.want, err)
		}
	}
}
