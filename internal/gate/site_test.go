package gate

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// middleware stands for the handler of a gate.
type middleware struct{ name string }

func (*middleware) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

// routeFor is the route of a site block.
func routeFor(handler caddyhttp.MiddlewareHandler, hosts ...string) caddyhttp.Route {
	route := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{handler}}
	if len(hosts) > 0 {
		match := caddyhttp.MatchHost(hosts)
		route.MatcherSets = caddyhttp.MatcherSets{{&match}}
	}
	return route
}

// sent is a request to a server.
func sent(t testing.TB, server *caddyhttp.Server, host string, isTLS bool) *http.Request {
	t.Helper()
	r := request(t, "/", "Host: "+host)
	if isTLS {
		r.TLS = new(tls.ConnectionState)
	}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, server))
}

func siteGate(handler caddyhttp.MiddlewareHandler, ofGate, ofApp string) *Gate {
	g := &Gate{Matcher: NewMatcher(nil), Handler: handler, SiteURL: ofGate, AppURL: ofApp}
	g.Provision()
	return g
}

// R2 and G11: the Host header chooses among the configured sites, and can name no other.
func TestR2G11TheSiteOfARequest(t *testing.T) {
	t.Parallel()
	const plain, overTLS = false, true
	for _, test := range []struct {
		name   string
		listen string
		hosts  []string
		host   string
		isTLS  bool
		want   string // empty: none
	}{
		{"its host", ":443", []string{"example.com"}, "example.com", overTLS, "https://example.com"},
		{"in capitals", ":443", []string{"example.com"}, "EXAMPLE.com", overTLS, "https://example.com"},
		{"with a final dot", ":443", []string{"example.com"}, "example.com.", overTLS, "https://example.com"},
		{"with the standard port", ":443", []string{"example.com"}, "example.com:443", overTLS, "https://example.com"},
		{"configured in capitals", ":443", []string{"Example.COM"}, "example.com", overTLS, "https://example.com"},
		{"another port", ":8443", []string{"example.com"}, "example.com:8443", overTLS, "https://example.com:8443"},
		{"another port with a final dot", ":8443", []string{"example.com"}, "example.com.:8443", overTLS, "https://example.com:8443"},
		{"a port that nobody listens on", ":8443", []string{"example.com"}, "example.com:1", overTLS, "https://example.com:8443"},
		{"one of several ports", ":8000-8002", []string{"example.com"}, "example.com:8001", overTLS, "https://example.com:8001"},
		{"a unix socket", "unix//run/caddy.sock", []string{"example.com"}, "example.com:1234", overTLS, "https://example.com:1234"},
		{"behind a proxy that ends TLS", ":80", []string{"example.com"}, "example.com:80", plain, "https://example.com"},
		{"localhost", ":8080", []string{"localhost"}, "localhost:8080", plain, "http://localhost:8080"},
		{"localhost on the standard port", ":80", []string{"localhost"}, "localhost", plain, "http://localhost"},
		{"below localhost", ":8080", []string{"shop.localhost"}, "shop.localhost:8080", plain, "http://shop.localhost:8080"},
		{"localhost over TLS", ":8443", []string{"localhost"}, "localhost:8443", overTLS, "https://localhost:8443"},
		{"this machine", ":8080", []string{"127.0.0.1", "::1"}, "127.0.0.1:8080", plain, "http://127.0.0.1:8080"},
		{"this machine by IPv6", ":8080", []string{"127.0.0.1", "::1"}, "[::1]:8080", plain, "http://[::1]:8080"},
		{"another machine", ":8080", []string{"192.0.2.1"}, "192.0.2.1:8080", plain, "https://192.0.2.1"},
		{"a wildcard", ":443", []string{"*.example.com"}, "shop.example.com", overTLS, "https://shop.example.com"},
		{"two labels for a wildcard", ":443", []string{"*.example.com"}, "a.b.example.com", overTLS, ""},
		{"no label for a wildcard", ":443", []string{"*.example.com"}, ".example.com", overTLS, ""},
		{"another host", ":443", []string{"example.com"}, "evil.example", overTLS, ""},
		{"a longer host", ":443", []string{"example.com"}, "example.com.evil.example", overTLS, ""},
		{"no host is configured", ":443", nil, "example.com", overTLS, ""},
		{"any host is configured", ":443", []string{"*"}, "example.com", overTLS, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			handler := &middleware{}
			server := &caddyhttp.Server{Listen: []string{test.listen}, Routes: caddyhttp.RouteList{
				routeFor(&middleware{"another"}, "evil.example"), routeFor(handler, test.hosts...),
			}}
			g := siteGate(handler, "", "")
			for range 2 { // the second time it is remembered
				site := g.Site(sent(t, server, test.host, test.isTLS))
				if test.want == "" {
					if site != nil {
						t.Fatalf("site %v", site)
					}
					continue
				}
				if site == nil || site.Origin != test.want || site.Secure != strings.HasPrefix(test.want, "https:") {
					t.Fatalf("got %+v, want %s", site, test.want)
				}
				if host := strings.SplitN(test.want, "://", 2)[1]; site.Host() != host {
					t.Errorf("host %s", site.Host())
				}
			}
		})
	}
}

func TestAConfiguredSiteAddressComesFirst(t *testing.T) {
	t.Parallel()
	handler := &middleware{}
	server := &caddyhttp.Server{Listen: []string{":443"}, Routes: caddyhttp.RouteList{routeFor(handler, "example.com")}}
	for _, test := range []struct{ ofGate, ofApp, host, want string }{
		{"https://shop.example", "https://app.example", "example.com", "https://shop.example"},
		{"", "https://app.example", "example.com", "https://example.com"},
		{"", "https://app.example", "other.example", "https://app.example"},
	} {
		g := siteGate(handler, test.ofGate, test.ofApp)
		if site := g.Site(sent(t, server, test.host, true)); (site == nil) != (test.want == "") || site != nil && site.Origin != test.want {
			t.Errorf("%+v: %+v", test, site)
		}
	}
	nameless := &caddyhttp.Server{Listen: []string{":443"}, Routes: caddyhttp.RouteList{routeFor(handler)}}
	if site := siteGate(handler, "", "https://app.example").Site(sent(t, nameless, "evil.example", true)); site == nil || site.Origin != "https://app.example" {
		t.Errorf("a site without a host name: %+v", site)
	}
	if site := siteGate(nil, "", "").Site(request(t, "/")); site != nil {
		t.Errorf("a request that came to no server: %v", site)
	}
}

func TestTheHostsOfWhereAGateStands(t *testing.T) {
	t.Parallel()
	handler := &middleware{}
	inSubroute := routeFor(&caddyhttp.Subroute{Routes: caddyhttp.RouteList{routeFor(handler)}}, "sub.example")
	named := routeFor(handler)
	named.Handlers = append(named.Handlers, &caddyhttp.Invoke{Name: "loop"})
	server := &caddyhttp.Server{
		NamedRoutes: map[string]*caddyhttp.Route{"loop": &named},
		Routes: caddyhttp.RouteList{
			inSubroute, routeFor(&caddyhttp.Invoke{Name: "loop"}, "named.example"), routeFor(&caddyhttp.Invoke{Name: "none"}, "none.example"),
			routeFor(handler, "a.example", "b.example."), routeFor(handler),
		},
	}
	own := caddyhttp.MatcherSets{{&caddyhttp.MatchHost{"own.example"}}}
	got := (&Gate{Matcher: NewMatcher(own), Handler: handler}).HostsOn(server)
	if want := "[[sub.example] [named.example] [a.example b.example] [own.example]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// Behind a wildcard a client may name any number of hosts; only so many are remembered.
func TestOnlySoManySitesAreRemembered(t *testing.T) {
	t.Parallel()
	handler := &middleware{}
	server := &caddyhttp.Server{Listen: []string{":443"}, Routes: caddyhttp.RouteList{routeFor(handler, "*.example.com")}}
	g := siteGate(handler, "", "")
	isRemembered := func(host string) bool {
		first := g.Site(sent(t, server, host, true))
		if first == nil {
			t.Fatal(host)
		}
		return first == g.Site(sent(t, server, host, true))
	}
	if isRemembered(strings.Repeat("a", maxHostLength) + ".example.com") {
		t.Error("a host of any length is remembered")
	}
	for i := range maxKnownSites {
		if host := fmt.Sprintf("h%d.example.com", i); !isRemembered(host) {
			t.Fatalf("%s is not remembered", host)
		}
	}
	if isRemembered("last.example.com") || !isRemembered("h0.example.com") {
		t.Error("more are remembered than the bound, or others than the first")
	}
}

func TestTheHostOfAnAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://example.com": "example.com", "https://Example.com:8443": "example.com", "http://[::1]:80": "::1", "example.com": "example.com",
		"Example.com:443": "example.com", "example.com.": "example.com", "[::1]:80": "::1", "[::1]": "::1", "::1": "::1", "": "",
	} {
		if got := HostOf(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
