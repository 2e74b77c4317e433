package preflight_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckLiveExplainsWhatAxraAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer        http.HandlerFunc
		level, phrase string
	}{
		"a session after all": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"sessionId":"cs_1"}`))
		}, "warning", "Axra created a session"},
		"trouble": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "error", "axra is unavailable (status 502)"},
		"another clock": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusBadRequest)
		}, "warning", "Axra: its clock and this machine's differ by 1h0m"},
	} {
		t.Run(name, func(t *testing.T) {
			axra := httptest.NewServer(c.answer)
			defer axra.Close()
			d := newDesk(t)
			t.Setenv("AXRA_API_KEY", "bk_test_sandbox")
			t.Setenv("AXRA_WEBHOOK_SECRET", "bs_test_sandbox")
			read := d.check(strings.Replace(strings.Replace(good, hook, "", 1), "axra {", "axra {\n endpoint "+axra.URL, 1), "--live")
			if found, _ := read.find("axra", c.phrase); found.Level != c.level {
				t.Errorf("%+v", read.Findings)
			}
		})
	}
}

func TestCheckLiveExplainsWhatAnswersForTheWebhook(t *testing.T) {
	status := func(status int, header ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		})
	}
	for name, c := range map[string]struct {
		answer  http.Handler
		scheme  string // of the site
		host    string
		tls     bool // of what listens
		phrase  string
		nothing bool
	}{
		"a redirect":              {answer: status(308, "Location", "https://www.example.com/webhooks/axra?secret=1"), phrase: "308 Permanent Redirect https://www.example.com/webhooks/axra"},
		"a password":              {answer: status(401), phrase: "something else does: 401"},
		"a gate":                  {answer: status(402), phrase: "something else does: 402"},
		"a page":                  {answer: status(200), phrase: "something else does: 200"},
		"nothing there":           {answer: status(404), phrase: "something else does: 404"},
		"trouble":                 {answer: status(502), phrase: "something else does: 502"},
		"another 405":             {answer: status(405, "Allow", "GET"), phrase: "something else does: 405"},
		"nobody listens":          {nothing: true, phrase: "connection refused"},
		"no TLS":                  {answer: status(405), scheme: "https", phrase: "does not answer"},
		"another's certificate":   {answer: status(405), scheme: "https", host: "127.0.0.1", tls: true, phrase: "certificate"},
		"a certificate of others": {answer: status(405), scheme: "https", tls: true, phrase: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(c.answer)
			server.Config.ErrorLog = nil
			if c.tls {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			address, err := url.Parse(server.URL)
			mustDo(t, err)
			_, port, err := net.SplitHostPort(address.Host)
			mustDo(t, err)
			if c.nothing {
				server.Close()
			}
			axra := httptest.NewServer(status(400))
			defer axra.Close()
			d := newDesk(t)
			t.Setenv("AXRA_API_KEY", "bk_test_sandbox")
			t.Setenv("AXRA_WEBHOOK_SECRET", "bs_test_sandbox")
			scheme, host := c.scheme, c.host
			if scheme == "" {
				scheme = "http"
			}
			if host == "" {
				host = "localhost"
			}
			config := strings.Replace(good, "axra {", "auto_https off\n axra {\n endpoint "+axra.URL, 1)
			read := d.check(strings.Replace(config, "example.com", scheme+"://"+host+":"+port, 1), "--live")
			if found, _ := read.find("webhook from outside", c.phrase); found.Level != "error" || found.Fix == "" || strings.Contains(found.Message, "secret") {
				t.Errorf("%+v", read.Findings)
			}
		})
	}
}

func TestCheckWritesNoLogFile(t *testing.T) {
	d := newDesk(t)
	file := filepath.Join(t.TempDir(), "access.log")
	d.check(strings.Replace(good, hook, hook+"log {\n output file "+file+"\n }\n", 1))
	if _, err := os.Stat(file); err == nil {
		t.Error("the log of the service was opened")
	}
}
