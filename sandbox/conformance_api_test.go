package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/sandbox"
	"github.com/caddy-axra/paywall/session"
)

const (
	// maxLiveCalls bounds the calls of one run; about 20 are made.
	maxLiveCalls = 24
	callDeadline = 10 * time.Second
	maxAnswer    = 64 << 10

	productionHost = "api.useaxra.com"
	stagingHost    = "staging-api.useaxra.com"
	stagingURL     = "https://" + stagingHost + sandbox.APIPrefix

	routeSession = "/business/payment/session"
	routeToken   = "/business/auth/token"
)

var (
	errNoKey = errors.New("not run: AXRA_API_KEY is not set; give it a bk_test_ key of your Axra account " +
		"(AXRA_API_SECRET and AXRA_ENDPOINT are optional) to ask Axra's own sandbox")
	errProduction = errors.New("only Axra's sandbox is asked")
	errTooMany    = errors.New("this run has made all the calls that it may")
)

// liveTarget reads where to call. It refuses everything that could be
// production.
func liveTarget(getenv func(string) string) (target, error) {
	at := target{endpoint: getenv("AXRA_ENDPOINT"), key: getenv("AXRA_API_KEY"), secret: getenv("AXRA_API_SECRET")}
	switch {
	case at.key == "":
		return target{}, errNoKey
	case !strings.HasPrefix(at.key, "bk_test_"):
		return target{}, fmt.Errorf("%w: AXRA_API_KEY does not begin with bk_test_", errProduction)
	case at.secret != "" && !strings.HasPrefix(at.secret, "bs_test_"):
		return target{}, fmt.Errorf("%w: AXRA_API_SECRET does not begin with bs_test_", errProduction)
	case at.endpoint == "":
		at.endpoint = stagingURL
	}
	at.endpoint = strings.TrimSuffix(at.endpoint, "/")
	return at, checkEndpoint(at.endpoint)
}

func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("AXRA_ENDPOINT must be like " + stagingURL) // not quoted: it may hold a password
	}
	if strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") == productionHost {
		return fmt.Errorf("%w: AXRA_ENDPOINT is the production API", errProduction)
	}
	addr, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return errors.New("AXRA_ENDPOINT must begin with https:// (plain http is for this machine only)")
	}
	return nil
}

// api is one installation of Axra's API. It asks each thing once.
type api struct {
	target
	ctx    context.Context
	client *http.Client
	hosts  session.CheckoutHosts
	calls  int
	heard  map[string]answer
	hidden []string // what no finding may show

	asConfigured, otherwise answer // to the first order, at the endpoint and at its other form
	endpointGiven           string
	bearer                  string // in use where the key alone is refused
	reached                 bool   // some call was let in
}

// connect opens a first session, and thereby learns under which address the API
// lives and which credentials it takes.
func connect(ctx context.Context, at target) *api {
	a := &api{target: at, ctx: ctx, heard: map[string]answer{}, hidden: []string{at.key, at.secret}, endpointGiven: at.endpoint}
	a.client = &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: callDeadline}).DialContext, ForceAttemptHTTP2: true},
		Timeout:       callDeadline,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	a.hosts = checkoutHosts(at.endpoint)
	a.asConfigured = a.call(at.endpoint, routeSession, minimal, a.byKey())
	if a.asConfigured.missing() != "" {
		return a // trying the other address would tell nothing
	}
	other := otherEndpoint(at.endpoint)
	a.otherwise = a.call(other, routeSession, minimal, a.byKey())
	switch {
	case a.asConfigured.letIn():
		a.reached = true
	case a.otherwise.letIn():
		a.endpoint, a.reached = other, true
	case a.secret != "":
		a.connectByToken(other)
	}
	return a
}

// connectByToken is for an API that does not take the key by itself.
func (a *api) connectByToken(other string) {
	for _, endpoint := range []string{a.endpoint, other} {
		token := a.call(endpoint, routeToken, a.credentials(), nil).text("accessToken")
		if token == "" {
			continue
		}
		a.endpoint, a.bearer = endpoint, token
		a.reached = a.create(minimal).letIn()
		return
	}
}

func (a *api) close() { a.client.CloseIdleConnections() }

// otherEndpoint is the endpoint with /api/v1, or without.
func otherEndpoint(endpoint string) string {
	if without, found := strings.CutSuffix(endpoint, sandbox.APIPrefix); found {
		return without
	}
	return endpoint + sandbox.APIPrefix
}

// checkoutHosts is where the plugin would send visitors by default, as the
// option checkout_hosts documents it.
func checkoutHosts(endpoint string) session.CheckoutHosts {
	u, err := url.Parse(endpoint)
	if err != nil {
		return session.CheckoutHosts{}
	}
	if u.Hostname() == stagingHost {
		return session.CheckoutHosts{Hosts: []string{"*.useaxra.com"}}
	}
	return session.CheckoutHosts{Hosts: []string{u.Host}, Insecure: u.Scheme == "http"}
}

// order is a JSON object to send.
type order map[string]any

// minimal is the smallest order there is, in money and in fields.
var minimal = order{"amount": json.Number("0.50"), "currency": "usd", "successUrl": "https://example.com/paid"}

// with returns the order with a field set.
func (o order) with(name string, value any) order {
	o = maps.Clone(o)
	o[name] = value
	return o
}

func (o order) without(name string) order {
	o = maps.Clone(o)
	delete(o, name)
	return o
}

func (a *api) credentials() order { return order{"apiKey": a.key, "apiSecret": a.secret} }

func (a *api) byKey() http.Header { return http.Header{"X-Api-Key": {a.key}} }

func byBearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// working is the credentials that were let in.
func (a *api) working() http.Header {
	if a.bearer != "" {
		return byBearer(a.bearer)
	}
	return a.byKey()
}

// create opens a session, unless this order was sent before.
func (a *api) create(o order) answer { return a.call(a.endpoint, routeSession, o, a.working()) }

// createAgain opens a session with an order that was sent before.
func (a *api) createAgain(o order) answer {
	text, err := json.Marshal(o)
	if err != nil {
		return answer{err: err}
	}
	return a.send(a.endpoint+routeSession, text, a.working())
}

func (a *api) exchange(credentials order) answer {
	return a.call(a.endpoint, routeToken, credentials, nil)
}

// call sends what was not sent before.
func (a *api) call(endpoint, route string, body order, credentials http.Header) answer {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{err: err}
	}
	name := fmt.Sprint(endpoint, route, string(text), credentials)
	if known, ok := a.heard[name]; ok {
		return known
	}
	got := a.send(endpoint+route, text, credentials)
	a.heard[name] = got
	return got
}

func (a *api) send(address string, body []byte, credentials http.Header) answer {
	request, err := http.NewRequestWithContext(a.ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	for name, values := range credentials {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	got := answer{asked: time.Now()}
	response, err := a.Do(request)
	if err != nil {
		got.err = err
		return got
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	got.came, got.status, got.header, got.err = time.Now(), response.StatusCode, response.Header, err
	got.read(raw)
	a.hidden = append(a.hidden, got.text("accessToken"), got.text("sessionId"), got.checkoutQuery())
	// Before it is shortened: half a secret would not be found any more.
	got.complaint = a.hide(got.message())
	return got
}

// Do counts what goes to Axra, the calls of the plugin's own client as well.
func (a *api) Do(request *http.Request) (*http.Response, error) {
	if a.calls++; a.calls > maxLiveCalls {
		return nil, errTooMany
	}
	return a.client.Do(request)
}

var credential = regexp.MustCompile(`b[ks]_(live|test)_[^\s"]+`)

// hide takes out of a text whatever is nobody's business.
func (a *api) hide(text string) string {
	for _, secret := range a.hidden {
		if len(secret) >= 6 {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return credential.ReplaceAllString(text, "…")
}

// answer is what came back from one call.
type answer struct {
	err         error
	asked, came time.Time
	status      int
	header      http.Header
	enveloped   bool
	complaint   string                     // why it was refused, in the API's own words
	whole       map[string]json.RawMessage // nil where it was no JSON object
	data        map[string]json.RawMessage // without the envelope
}

func (a *answer) read(raw []byte) {
	if json.Unmarshal(raw, &a.whole) != nil {
		a.whole = nil
		return
	}
	a.data = a.whole
	if _, a.enveloped = a.whole["success"]; a.enveloped {
		a.data = nil
		_ = json.Unmarshal(a.whole["data"], &a.data) // an error's answer has none
	}
}

// missing says why an answer proves nothing; it is empty where it does.
func (a answer) missing() string {
	switch {
	case a.err != nil:
		return "no answer: " + cause(a.err)
	case a.status == http.StatusTooManyRequests, a.status >= 500:
		return fmt.Sprintf("it answered %d: try again later", a.status)
	}
	return ""
}

// cause leaves the address out, and what the other side sent.
func cause(err error) string {
	var inCall *url.Error
	if errors.As(err, &inCall) {
		err = inCall.Err
	}
	said, _, _ := strings.Cut(err.Error(), `"`)
	return strings.TrimSpace(said)
}

// ok: the call did what it asked for.
func (a answer) ok() bool { return a.err == nil && a.status/100 == 2 && a.data != nil }

// refused: the API has read the order and does not want it.
func (a answer) refused() bool {
	return a.status == http.StatusBadRequest || a.status == http.StatusConflict || a.status == http.StatusUnprocessableEntity
}

// letIn: address and credentials are right, whatever became of the order.
func (a answer) letIn() bool { return a.ok() || a.whole != nil && a.refused() }

func (a answer) text(name string) string {
	var text string
	_ = json.Unmarshal(a.data[name], &text) // another type is as good as none
	return text
}

// number reads a number as the plugin does, also from a string.
func (a answer) number(name string) json.Number {
	var number json.Number
	_ = json.Unmarshal(a.data[name], &number)
	return number
}

func (a answer) checkoutQuery() string {
	u, err := url.Parse(a.text("checkoutUrl"))
	if err != nil {
		return ""
	}
	return u.RawQuery
}

// String is what a person may see: the status, and why something was refused.
func (a answer) String() string {
	switch {
	case a.err != nil:
		return "no answer: " + cause(a.err)
	case a.status == 0:
		return "not asked"
	case a.whole == nil:
		kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
		return fmt.Sprintf("%d, not JSON but %.40q", a.status, kind)
	case a.refused():
		if a.complaint != "" {
			return fmt.Sprintf("%d %.100q", a.status, a.complaint)
		}
	}
	return fmt.Sprint(a.status)
}

// message is what an error's answer says, in one of the usual places.
func (a answer) message() string {
	var message string
	var inner map[string]json.RawMessage
	if json.Unmarshal(a.whole["message"], &message) != nil && json.Unmarshal(a.whole["error"], &message) != nil &&
		json.Unmarshal(a.whole["error"], &inner) == nil {
		_ = json.Unmarshal(inner["message"], &message) // then there is none
	}
	return message
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_]{1,32}$`)

// members names what an object holds, and what its objects hold.
func members(object map[string]json.RawMessage) string {
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !plainName.MatchString(name) {
			name = "…"
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(object[name], &inner) == nil && inner != nil {
			name += " " + members(inner)
		}
		names = append(names, name)
	}
	if len(names) > 12 {
		names = append(names[:12], "…")
	}
	return "{" + strings.Join(names, ", ") + "}"
}
