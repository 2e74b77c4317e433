package paywall_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// poll is what the waiting page asks.
func (v *visitor) poll(target string) string {
	v.w.t.Helper()
	answer := v.do(http.MethodGet, target, http.Header{
		"Accept": {"application/json"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"},
	}, nil)
	var state struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal([]byte(answer.body), &state); err != nil {
		v.w.t.Fatalf("poll: %d %s", answer.status, answer.body)
	}
	return state.State
}

// buyPass goes from the offer page through the checkout.
func (v *visitor) buyPass(target, pass string) reply {
	v.w.t.Helper()
	return v.buy(target+"?axra_checkout="+url.QueryEscape(pass), cardGood)
}

// cookies are those of the visitor's browser for the whole site.
func (v *visitor) cookies() []*http.Cookie {
	site, err := url.Parse(v.w.site)
	mustDo(v.w.t, err)
	return v.client.Jar.Cookies(site)
}

// cookie is the value of a cookie for the whole site whose name contains part.
func (v *visitor) cookie(t *testing.T, part string) string {
	t.Helper()
	return v.cookieFor("/", part)
}

// cookieFor is the value of the browser's cookie for a page whose name contains part.
func (v *visitor) cookieFor(target, part string) string {
	v.w.t.Helper()
	address, err := url.Parse(v.w.site + target)
	mustDo(v.w.t, err)
	for _, cookie := range v.client.Jar.Cookies(address) {
		if strings.Contains(cookie.Name, part) {
			return cookie.Value
		}
	}
	v.w.t.Fatalf("no cookie %s for %s", part, target)
	return ""
}

// wantBody expects what an application answers.
func (r reply) wantBody(t *testing.T, body string) {
	t.Helper()
	if r.status != http.StatusOK || r.body != body {
		t.Fatalf("%d %s", r.status, r.body)
	}
}

// log is what Caddy has logged.
func (w *world) log() string {
	w.t.Helper()
	raw, err := os.ReadFile(w.logs)
	mustDo(w.t, err)
	return string(raw)
}

// raw sends bytes as they are and returns the whole answer; the status is 0 if there is none. A server that answers
// before it has read everything may reset the connection, and with it its answer, so it is asked a few times.
func (w *world) raw(request string) (status int, answer string) {
	w.t.Helper()
	for range 5 {
		if status, answer = w.rawOnce(request); status != 0 {
			break
		}
	}
	return status, answer
}

func (w *world) rawOnce(request string) (status int, answer string) {
	w.t.Helper()
	conn, err := net.DialTimeout("tcp", "localhost:"+w.port, 5*time.Second)
	mustDo(w.t, err)
	defer conn.Close()
	mustDo(w.t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, _ = io.WriteString(conn, request) // what matters is the answer
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// rawGet asks for a target as it is written.
func (w *world) rawGet(target string, headers ...string) (int, string) {
	w.t.Helper()
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nConnection: close\r\n", target)
	host := "Host: localhost:" + w.port + "\r\n"
	for _, header := range headers {
		if strings.HasPrefix(header, "Host:") {
			host = ""
		}
		head += header + "\r\n"
	}
	return w.raw(head + host + "\r\n")
}

// gateBefore is a site with a GATE before an UPSTREAM.
const gateBefore = `{
	SETUP
	axra {
		api_key        {env.AXRA_API_KEY}
		webhook_secret {env.AXRA_WEBHOOK_SECRET}
		endpoint       ENDPOINT
	}
}
http://localhost:PORT {
	axra_webhook /webhooks/axra
	axra_paywall GATE {
		price 5.00 usd
	}
	UPSTREAM
}
`

// gateFor is gateBefore with its words filled in.
func gateFor(gate, upstream string) string {
	return strings.NewReplacer("GATE", gate, "UPSTREAM", upstream).Replace(gateBefore)
}

// echo is a lenient application.
func echo(t *testing.T, answer http.HandlerFunc) string {
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
