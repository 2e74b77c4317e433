package paywall_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-axra/paywall/internal/sitetest"
)

// The example lets partners in, and nobody by an empty header.
func TestTheExampleOfATeaserLetsPartnersIn(t *testing.T) {
	_, site, _ := strings.Cut(readDoc(t, "examples/teaser.caddyfile"), "example.com {")
	config := strings.SplitAfter(sitetest.FiveLines, "http://localhost:PORT {")[0] + strings.Replace(site, "root /var/www", "root ROOT", 1)
	for _, token := range []string{"", "its secret"} {
		t.Setenv("PARTNER_TOKEN", token)
		w := newWorld(t, sitetest.Options{Caddyfile: config})
		w.Write("articles/1.html", sitetest.Marker)
		for sent, want := range map[string]bool{"": false, "its secret": token != "", "another": false} {
			answer := w.Visitor().Do(http.MethodGet, "/articles/1.html", http.Header{"X-Partner": {sent}}, nil)
			if got := strings.Contains(answer.Body, sitetest.Marker); got != want {
				t.Errorf("with the token %q, who sends %q is let in: %v (%d)", token, sent, got, answer.Status)
			}
			if want && !strings.HasPrefix(answer.Header.Get("Cache-Control"), "private") {
				t.Errorf("a shared cache may keep it: %q", answer.Header.Get("Cache-Control"))
			}
		}
		w.Stop()
	}
}

// The image is built from the module, the Go and the Caddy that go.mod names.
func TestTheDockerfileBuildsThisModule(t *testing.T) {
	t.Parallel()
	mod, dockerfile := readDoc(t, "go.mod"), readDoc(t, "examples/Dockerfile")
	for _, version := range []struct{ inMod, inDockerfile string }{
		{`(?m)^module (\S+)$`, `--with ([^@=\s]+)[@=]\S*/plugin\n`},
		{`(?m)^\tgithub\.com/caddyserver/caddy/v2 (\S+)`, `xcaddy build (\S+) `},
		{`(?m)^go (\d+\.\d+)`, `(?m)^FROM golang:(\d+\.\d+)`},
	} {
		want := regexp.MustCompile(version.inMod).FindStringSubmatch(mod)
		got := regexp.MustCompile(version.inDockerfile).FindStringSubmatch(dockerfile)
		if want == nil || got == nil || got[1] != want[1] {
			t.Errorf("the Dockerfile has %q, go.mod %q", got, want)
		}
	}
}

// Neither the unit nor the image writes the secrets of its environment to a log, or runs Caddy as root.
func TestDeploymentsKeepSecretsAndDropRoot(t *testing.T) {
	t.Parallel()
	for file, user := range map[string]string{"examples/caddy-axra.service": "User=caddy", "examples/Dockerfile": "USER caddy"} {
		text := regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(readDoc(t, file), "")
		if strings.Contains(text, "--environ") || !strings.Contains(text, "\n"+user+"\n") || regexp.MustCompile(`(?m)^(ENV|ARG) .*AXRA_`).MatchString(text) {
			t.Errorf("%s leaks secrets or runs as root:\n%s", file, text)
		}
	}
}
