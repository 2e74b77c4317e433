package paywall

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(discreetly))
	caddy.RegisterModule(new(failing))
	httpcaddyfile.RegisterHandlerDirective("test_discreetly", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(discreetly), nil
	})
	httpcaddyfile.RegisterHandlerDirective("test_failing", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(failing), nil
	})
}

// secret is the value that no log may have.
const secret = "S3CR3T-VALUE"

// discreetly stands for a gate.
type discreetly struct{ gate *Handler }

// incomplete counts requests whose secrets the gate itself could not read.
var incomplete atomic.Int64

func (*discreetly) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_discreetly", New: func() caddy.Module { return new(discreetly) }}
}

func (d *discreetly) Provision(ctx caddy.Context) error {
	d.gate = &Handler{app: &App{ctx: ctx}}
	return nil
}

func (d *discreetly) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	if !secretParams(originalURL(r).RawQuery) {
		return next.ServeHTTP(w, r)
	}
	if r.URL.Path == "/moved" { // as by a `rewrite` before the gate
		r.URL.Path = "/page.txt"
		r.RequestURI = r.URL.RequestURI()
	}
	out, r, logged := d.gate.discreet(w, r)
	defer func() { logged(err); err = nil }()
	if !secretParams(r.URL.RawQuery) || !strings.Contains(r.RequestURI, secret) {
		incomplete.Add(1)
	}
	r.URL.RawQuery, _ = cleanQuery(r.URL.RawQuery)
	err = next.ServeHTTP(out, asWanted(r))
	if !secretParams(originalURL(r).RawQuery) {
		incomplete.Add(1)
	}
	answerError(out, asWanted(r), err)
	return err
}

// failing returns the error that the path names.
type failing struct{}

func (*failing) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_failing", New: func() caddy.Module { return new(failing) }}
}

func (*failing) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	switch r.URL.Path {
	case "/fails/plain":
		return errors.New("it went wrong at /?axra_link=" + secret)
	case "/fails/teapot":
		return caddyhttp.Error(http.StatusTeapot, errors.New("no coffee"))
	case "/fails/panic":
		w.WriteHeader(http.StatusAccepted)
		panic(http.ErrAbortHandler)
	}
	return next.ServeHTTP(w, r)
}

// logWorld is a Caddy whose sites log each in their own way.
type logWorld struct {
	t     *testing.T
	ports map[string]string // one of these for each of Caddy's servers
	dir   string
}

// Its http_port is what makes a site without `log` silent: Caddy skips no host whose
// address has a port.
const logSites = `{
	admin off
	persist_config off
	auto_https off
	http_port MAPPED
	storage file_system DIR/storage
	order test_discreetly before basic_auth
	order test_failing after test_discreetly
	log {
		output file DIR/main.log
		level DEBUG
	}
	servers {
		protocols h1
		trusted_proxies static private_ranges
	}
}
(site) {
	test_discreetly
	test_failing
	root DIR/files
	handle /up/* {
		reverse_proxy UPSTREAM
	}
	handle /placeholders {
		rewrite /rewritten?{query}
		respond "{uri}|{http.request.uri.query}|{http.request.uri.query.axra_link}|{http.request.orig_uri}|{http.request.orig_uri.query}|{http.request.orig_uri.prefixed_query}|{header.Referer}"
	}
	handle {
		file_server
	}
}
http://one.test {
	log {
		output file DIR/one.log
		level DEBUG
	}
	log_append <early "{http.request.uri}"
	import site
}
http://two.test {
	log {
		output file DIR/two.log
	}
	import site
}
http://*.wild.test {
	log {
		output file DIR/wild.log
	}
	import site
}
http://main.test:OPEN {
	log
	import site
}
http://skipped.test {
	log {
		output file DIR/skipped.log
	}
	log_skip /quiet/*
	import site
}
http://named.test:OPEN {
	log {
		output file DIR/unnamed.log
	}
	log special {
		output file DIR/named.log
		no_hostname
	}
	log_name special
	import site
}
http://silent.test {
	import site
}
http://nolog.test:NOLOG {
	import site
}
`

func newLogWorld(t *testing.T) *logWorld {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%s|%s", r.RequestURI, r.Referer())
	}))
	t.Cleanup(upstream.Close)
	w := &logWorld{t: t, ports: make(map[string]string), dir: t.TempDir()}
	for _, name := range []string{"MAPPED", "OPEN", "NOLOG"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, w.ports[name], _ = net.SplitHostPort(listener.Addr().String())
		listener.Close()
	}
	if err := os.Mkdir(filepath.Join(w.dir, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "files", "page.txt"), []byte("twelve bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("DIR", w.dir, "UPSTREAM", upstream.URL,
		"MAPPED", w.ports["MAPPED"], "OPEN", w.ports["OPEN"], "NOLOG", w.ports["NOLOG"]).Replace(logSites)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(adapted, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return w
}

// get asks and returns status and body; a connection that is cut has neither.
func (w *logWorld) get(host, target string, header http.Header) (int, string) {
	return w.do(http.MethodGet, host, target, header, "")
}

func (w *logWorld) do(method, host, target string, header http.Header, body string) (int, string) {
	w.t.Helper()
	port := w.ports["MAPPED"]
	switch host {
	case "main.test", "named.test":
		port = w.ports["OPEN"]
	case "nolog.test":
		port = w.ports["NOLOG"]
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, "http://127.0.0.1:"+port+target, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Host = host + ":" + port
	maps.Copy(request.Header, header)
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

// entry is one line of a log.
type entry map[string]any

func (e entry) uri() string {
	request, _ := e["request"].(map[string]any)
	uri, _ := request["uri"].(string)
	return uri
}

// stop ends Caddy, so that its logs are complete, and reads them by file.
func (w *logWorld) stop() map[string][]entry {
	w.t.Helper()
	if err := caddy.Stop(); err != nil {
		w.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "*.log"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("no logs: %v", err)
	}
	logs := make(map[string][]entry, len(files))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".log")
		logs[name] = w.read(file)
	}
	return logs
}

func (w *logWorld) read(file string) []entry {
	w.t.Helper()
	opened, err := os.Open(file)
	if err != nil {
		w.t.Fatal(err)
	}
	defer opened.Close()
	var entries []entry
	lines := bufio.NewScanner(opened)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), secret) {
			w.t.Errorf("the secret is in %s: %s", filepath.Base(file), lines.Text())
		}
		var line entry
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			w.t.Fatal(err)
		}
		entries = append(entries, line)
	}
	return entries
}

// handled are the access lines of all logs whose address contains a word, by file.
func handled(logs map[string][]entry, word string) map[string][]entry {
	found := make(map[string][]entry)
	for name, entries := range logs {
		for _, line := range entries {
			if line["msg"] == "handled request" && strings.Contains(line.uri(), word) {
				found[name] = append(found[name], line)
			}
		}
	}
	return found
}

func TestAccessLogNamesNoSecrets(t *testing.T) {
	tests := []struct {
		host, target string
		status, size int
		uri          string
		log, logger  string // none: no line
	}{
		{"one.test", "/page.txt?a=1&axra_session=" + secret + "&b=%20", 200, 12, "/page.txt?a=1&axra_session=REDACTED&b=%20", "one", "http.log.access.log0"},
		{"ONE.test", "/page.txt?case&axra_session=" + secret, 200, 12, "/page.txt?case&axra_session=REDACTED", "one", "http.log.access.log0"},
		{"two.test", "/page.txt?axra_link=" + secret + "&c&axra_device=" + secret, 200, 12, "/page.txt?axra_link=REDACTED&c&axra_device=REDACTED", "two", "http.log.access.log1"},
		{"a.wild.test", "/page.txt?d&axra_link=" + secret, 200, 12, "/page.txt?d&axra_link=REDACTED", "wild", "http.log.access.log2"},
		{"main.test", "/page.txt?e&axra_link=" + secret, 200, 12, "/page.txt?e&axra_link=REDACTED", "main", "http.log.access"},
		{"named.test", "/page.txt?f&axra_link=" + secret, 200, 12, "/page.txt?f&axra_link=REDACTED", "named", "http.log.access.special"},
		{"skipped.test", "/page.txt?g&axra_link=" + secret, 200, 12, "/page.txt?g&axra_link=REDACTED", "skipped", "http.log.access.log3"},
		{"skipped.test", "/quiet/page.txt?h&axra_link=" + secret, 404, 0, "", "", ""},
		{"one.test", "/moved?p&axra_link=" + secret, 200, 12, "/moved?p&axra_link=REDACTED", "one", "http.log.access.log0"},
		{"silent.test", "/page.txt?i&axra_link=" + secret, 200, 12, "", "", ""},
		{"nolog.test", "/page.txt?o&axra_link=" + secret, 200, 12, "", "", ""},
		{"other.test", "/page.txt?j&axra_linked=x", 200, 0, "", "", ""},
		{"one.test", "/missing?k&axra_link=" + secret, 404, 0, "/missing?k&axra_link=REDACTED", "one", "http.log.access.log0"},
		{"one.test", "/fails/plain?l&axra_link=" + secret, 500, 0, "/fails/plain?l&axra_link=REDACTED", "one", "http.log.access.log0"},
		{"one.test", "/fails/teapot?m&axra_link=" + secret, 418, 0, "/fails/teapot?m&axra_link=REDACTED", "one", "http.log.access.log0"},
		{"two.test", "/fails/panic?n&axra_link=" + secret, 0, 0, "/fails/panic?n&axra_link=REDACTED", "two", "http.log.access.log1"},
	}
	w := newLogWorld(t)
	incomplete.Store(0)
	for _, test := range tests {
		if status, _ := w.get(test.host, test.target, nil); status != test.status {
			t.Errorf("%s%s: answered with %d, want %d", test.host, test.target, status, test.status)
		}
	}
	if count := incomplete.Load(); count > 0 {
		t.Errorf("the gate missed its own parameters %d times", count)
	}
	logs := w.stop()
	for _, test := range tests {
		_, query, _ := strings.Cut(test.target, "?")
		path := strings.TrimSuffix(test.target, query) + strings.ReplaceAll(query, secret, redaction)
		found := handled(logs, path)
		if test.log == "" {
			if len(found) > 0 {
				t.Errorf("%s%s: logged: %v", test.host, path, found)
			}
			continue
		}
		lines := found[test.log]
		if len(found) != 1 || len(lines) != 1 {
			t.Errorf("%s%s: want one line, in %s, got %v", test.host, path, test.log, found)
			continue
		}
		status := test.status
		if status == 0 {
			status = http.StatusAccepted // what was written before the connection was cut
		}
		line := lines[0]
		if line.uri() != test.uri || line["status"] != float64(status) || line["size"] != float64(test.size) || line["logger"] != test.logger {
			t.Errorf("%s%s: want %d, %d bytes, %q by %s, got %v", test.host, path, status, test.size, test.uri, test.logger, line)
		}
		if wantError := status >= 500; (line["level"] == "error") != wantError {
			t.Errorf("%s%s: level is %v", test.host, path, line["level"])
		}
	}
}

// The line that stands for Caddy's own has what Caddy's own has.
func TestAccessLineIsLikeCaddys(t *testing.T) {
	w := newLogWorld(t)
	header := http.Header{
		"Referer": {"http://one.test/?axra_session=" + secret}, "Authorization": {"Bearer x"}, "Cookie": {"a=b"},
		"X-Forwarded-For": {"203.0.113.9"}, "User-Agent": {"test"},
	}
	w.do(http.MethodPost, "one.test", "/up/x?mine&axra_session="+secret, header, "five!")
	header.Set("Referer", "http://one.test/?axra_session=REDACTED")
	w.do(http.MethodPost, "one.test", "/up/x?mine&axra_session_no=REDACTED", header, "five!")
	found := handled(w.stop(), "mine")["one"]
	if len(found) != 2 {
		t.Fatalf("want two lines, got %v", found)
	}
	ours, caddys := found[0], found[1]
	if ours.uri() != "/up/x?mine&axra_session=REDACTED" || ours["early"] != ours.uri() {
		t.Errorf("our line is of %q with the field %q", ours.uri(), ours["early"])
	}
	if caddys["bytes_read"] != float64(5) {
		t.Errorf("Caddy read %v bytes", caddys["bytes_read"])
	}
	if got, want := slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(caddys)); !slices.Equal(got, want) {
		t.Errorf("our line has %v, Caddy's has %v", got, want)
	}
	for _, line := range found {
		request, _ := line["request"].(map[string]any)
		for _, name := range []string{"uri", "remote_port"} {
			delete(request, name)
		}
		headers, _ := line["resp_headers"].(map[string]any)
		delete(headers, "Date")
		delete(headers, "Content-Length") // of a body that names the address
		for _, name := range []string{"ts", "duration", "size", "early"} {
			delete(line, name)
		}
	}
	if got, want := encode(t, ours), encode(t, caddys); got != want {
		t.Errorf("our line is\n%s\nCaddy's is\n%s", got, want)
	}
}

func encode(t testing.TB, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// What an error says is not lost, but for the secret.
func TestErrorsOfDiscreetRequestsAreLogged(t *testing.T) {
	w := newLogWorld(t)
	w.get("silent.test", "/fails/plain?axra_link="+secret, nil)
	w.get("silent.test", "/fails/teapot?axra_link="+secret, nil)
	logged := map[string]entry{}
	for _, line := range w.stop()["main"] {
		if line["logger"] == "http.log.error" {
			logged[line["msg"].(string)] = line
		}
	}
	if plain := logged["it went wrong at /?axra_link=REDACTED"]; plain["level"] != "error" || plain.uri() != "/fails/plain?axra_link=REDACTED" {
		t.Errorf("of the plain error: %v", plain)
	}
	if teapot := logged["no coffee"]; teapot["level"] != "debug" || teapot["status"] != float64(418) || teapot["err_id"] == "" {
		t.Errorf("of the handler's error: %v", teapot)
	}
}

// Neither an application behind nor a placeholder gets to see a secret.
func TestHandlersBehindSeeNoSecrets(t *testing.T) {
	w := newLogWorld(t)
	referer := http.Header{"Referer": {"http://one.test/?x&axra_device=" + secret}}
	for _, test := range []struct{ target, want string }{
		{"/up/a?b=%41&axra_link=" + secret + "&&c", "/up/a?b=%41&&c|http://one.test/?x"},
		{"/up/a?axra_session=" + secret, "/up/a|http://one.test/?x"},
		{"/placeholders?axra_link=" + secret + "&q=1", "/rewritten?q=1|q=1||/placeholders?q=1|q=1|?q=1|http://one.test/?x"},
		{"/placeholders?axra_link=" + secret, "/rewritten|||/placeholders||" + "|http://one.test/?x"},
	} {
		if _, got := w.get("one.test", test.target, referer.Clone()); got != test.want {
			t.Errorf("%s: behind the gate it is %q, want %q", test.target, got, test.want)
		}
	}
	w.stop()
}

func TestSecretParams(t *testing.T) {
	for _, test := range []struct {
		query, redacted, without string
		found                    bool
	}{
		{"", "", "", false},
		{"a=1&b", "a=1&b", "a=1&b", false},
		{"axra_try=3&axra_paid", "axra_try=3&axra_paid", "axra_paid", false},
		{"axra_query=Yj0y&axra_try=1&a", "axra_query=Yj0y&axra_try=1&a", "a", false},
		{"a&axra_query=YiM&axra_query=Yg0K", "a&axra_query=YiM&axra_query=Yg0K", "a", false},
		{"xaxra_link=1&axra_linked=2", "xaxra_link=1&axra_linked=2", "xaxra_link=1&axra_linked=2", false},
		{"axra_link=x", "axra_link=REDACTED", "", true},
		{"axra_link=", "axra_link=", "", true},
		{"axra_link", "axra_link", "", true},
		{"axra_link=x=y&axra_link=z", "axra_link=REDACTED&axra_link=REDACTED", "", true},
		{"a=%zz&axra_device=x&&\xff=;", "a=%zz&axra_device=REDACTED&&\xff=;", "a=%zz&&\xff=;", true},
		{"axra_session=x\"y#z&a", "axra_session=REDACTED&a", "a", true},
	} {
		if got := secretParams(test.query); got != test.found {
			t.Errorf("%q: secrets found is %v", test.query, got)
		}
		if got := redacted(test.query); got != test.redacted {
			t.Errorf("%q: redacted it is %q, want %q", test.query, got, test.redacted)
		}
		if got, _ := cleanQuery(test.query); got != test.without {
			t.Errorf("%q: without secrets it is %q, want %q", test.query, got, test.without)
		}
	}
}

func TestRedactedText(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`Get "http://a/?axra_link=x": no`, `Get "http://a/?axra_link=REDACTED": no`},
		{"%3Faxra_session%3Dx%26b", "%3Faxra_session%3DREDACTED"},
		{"axra_t_0=1", "axra_t_0=1"},
	} {
		if got := redactedText(test.text); got != test.want {
			t.Errorf("%q became %q, want %q", test.text, got, test.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct{ address, redacted, without string }{
		{"/a", "/a", "/a"},
		{"/a?", "/a?", "/a?"},
		{`/a?axra_link=x"y&b`, "/a?axra_link=REDACTED&b", "/a?b"},
		{"https://a/?axra_link=x#y", "https://a/?axra_link=REDACTED#y", "https://a/#y"},
		{"/?&axra_link=x", "/?&axra_link=REDACTED", "/?"},
	} {
		if got := redactedAddress(test.address); got != test.redacted {
			t.Errorf("%q: redacted it is %q, want %q", test.address, got, test.redacted)
		}
		if got := cleanAddress(test.address); got != test.without {
			t.Errorf("%q: without secrets it is %q, want %q", test.address, got, test.without)
		}
	}
}

func TestLogsAccess(t *testing.T) {
	conf := &caddyhttp.ServerLogConfig{
		LoggerNames: map[string]caddyhttp.StringArray{"a.test": {"a", ""}, "*.b.test": {"b"}, "c.*.test": {"c"}, "none.test": {}},
		SkipHosts:   []string{"skip.test", "*.skip.test"}, DefaultLoggerName: "rest",
	}
	unmapped := *conf
	unmapped.SkipUnmappedHosts = true
	for _, test := range []struct {
		host  string
		conf  *caddyhttp.ServerLogConfig
		want  bool
		names string
	}{
		{"a.test:80", conf, true, "a "},
		{"A.test", conf, true, "a "},
		{"x.b.test", conf, true, "b"},
		{"none.test", conf, true, ""},
		{"skip.test", conf, false, "rest"},
		{"x.skip.test:1", conf, false, "rest"},
		{"x.test", conf, true, "rest"},
		{"x.test", &unmapped, false, "rest"},
		{"a.test", &unmapped, true, "a "},
		{"[::1]:80", &caddyhttp.ServerLogConfig{LoggerNames: map[string]caddyhttp.StringArray{"::1": {"six"}}, SkipUnmappedHosts: true}, true, "six"},
	} {
		if got := logsAccess(test.conf, test.host); got != test.want {
			t.Errorf("%s: logged is %v", test.host, got)
		}
		if got := strings.Join(loggerNames(test.conf, test.host), " "); got != test.names {
			t.Errorf("%s: loggers are %q, want %q", test.host, got, test.names)
		}
	}
	if logsAccess(nil, "a.test") {
		t.Error("a server without access log logs")
	}
}

// Caddy keeps them to itself: this fails when it keeps them elsewhere.
func TestExtraFieldsAreFound(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if got := extraFields(r); got != nil {
		t.Errorf("found %v where there are none", got)
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	extra := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	extra.Add(zap.Any("error", io.EOF))
	if got := extraFields(r); len(got) != 1 || !got[0].Equals(zap.Any("error", io.EOF)) {
		t.Errorf("found %v", got)
	}
}

// statusWriter has written a header.
type statusWriter struct {
	http.ResponseWriter
	status int
	again  bool
}

func (w *statusWriter) Status() int         { return w.status }
func (w *statusWriter) Header() http.Header { return http.Header{} }
func (w *statusWriter) WriteHeader(int)     { w.again = true }

func TestAnswerError(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 500},
		{fmt.Errorf("wrapped: %w", caddyhttp.Error(502, io.EOF)), 502},
		{caddyhttp.HandlerError{}, 500},
	} {
		recorder := caddyhttp.NewResponseRecorder(httptest.NewRecorder(), nil, nil)
		answerError(recorder, httptest.NewRequest(http.MethodGet, "/", nil), test.err)
		if recorder.Status() != test.want {
			t.Errorf("%v: answered with %d, want %d", test.err, recorder.Status(), test.want)
		}
	}
	recorder := caddyhttp.NewResponseRecorder(httptest.NewRecorder(), nil, nil)
	recorder.WriteHeader(http.StatusEarlyHints)
	answerError(newPrivateWriter(recorder), httptest.NewRequest(http.MethodGet, "/", nil), io.EOF)
	if recorder.Status() != 500 {
		t.Errorf("after early hints: %d", recorder.Status())
	}
	for _, status := range []int{101, 200, 404} {
		written := &statusWriter{status: status}
		answerError(newPrivateWriter(written), httptest.NewRequest(http.MethodGet, "/", nil), io.EOF)
		if written.again {
			t.Errorf("a header was written after %d", status)
		}
	}
}

// Flushing and hijacking go through.
func TestDiscreetWriterKeepsAbilities(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	gate := &Handler{app: &App{ctx: ctx}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
		out, _, logged := gate.discreet(w, r)
		defer logged(nil)
		controller := http.NewResponseController(out)
		if err := controller.Flush(); err != nil {
			t.Errorf("flush: %v", err)
		}
		if _, ok := out.(io.ReaderFrom); !ok {
			t.Error("no fast path for files")
		}
		conn, _, err := controller.Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		conn.Close()
	}))
	defer server.Close()
	response, err := server.Client().Get(server.URL)
	if err == nil {
		response.Body.Close()
	}
}
