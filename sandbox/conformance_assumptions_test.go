package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/session"
	"github.com/caddy-axra/paywall/terms"
)

// apiAssumptions is what the plugin takes for granted about the API. All of it
// is asked with unpaid sessions of the smallest amount.
var apiAssumptions = []assumption[*api]{
	{"base-url", "the API lives under /api/v1 [authentication; unconfirmed for Axra's sandbox]", checkBase},
	{"auth-key", "the header x-api-key authenticates [authentication, way 1]", checkKey},
	{"auth-wrong-key", "a wrong key is answered 401 [authentication]", whenReached(checkWrongKey)},
	{"token-exchange", "POST " + routeToken + " answers accessToken, tokenType Bearer, expiresIn 3600, businessId, businessName [authentication, way 2]", whenReached(checkExchange)},
	{"auth-bearer", "Authorization: Bearer <accessToken> authenticates [authentication, way 2]", whenReached(checkBearer)},
	{"token-wrong-secret", "a wrong secret is answered 401 [authentication]", whenReached(checkWrongSecret)},
	{"token-missing-field", "a token request without a field is answered 400 [authentication]", whenReached(checkTokenField)},
	{"envelope", `answers are {"success": true, "data": {…}} or the bare object [authentication]`, whenReached(checkEnvelope)},
	{"create", "amount 0.50, currency and successUrl are enough for a session [payments/checkout-sessions]", accepts(minimal)},
	{"amount-required", "amount is required [payments/checkout-sessions]", refuses(minimal.without("amount"))},
	{"currency-required", "currency is required [payments/checkout-sessions]", refuses(minimal.without("currency"))},
	{"success-url-required", "successUrl is required [payments/checkout-sessions]", refuses(minimal.without("successUrl"))},
	{"amount-minimum", "less than 0.50 is refused [payments/checkout-sessions]", refuses(minimal.with("amount", json.Number("0.49")))},
	{"amount-confirmed", "the answer confirms amount and currency, in major units [payments/checkout-sessions]", whenReached(checkAmount)},
	{"currency-unknown", "a currency outside ISO 4217 is refused [payments/checkout-sessions]", refuses(minimal.with("currency", "zzz"))},
	{"currency-case", "a currency in upper case: accepted or refused (the plugin sends lower case)", notes(minimal.with("currency", "USD"))},
	{"expires-in", "expiresIn 300 is accepted [payments/checkout-sessions]", accepts(shortest)},
	{"expires-in-minimum", "expiresIn 299 is refused [payments/checkout-sessions]", refuses(minimal.with("expiresIn", 299))},
	{"expires-at", "expiresAt is ISO 8601, expiresIn from now [payments/checkout-sessions]", whenReached(checkExpiry)},
	{"answer-fields", "the answer has sessionId, checkoutUrl, expiresAt, amount and currency [payments/checkout-sessions]", whenReached(checkFields)},
	{"session-id", "sessionId is at most 256 characters that need no escaping in a URL [payments/checkout-sessions]", whenReached(checkSessionID)},
	{"checkout-url", "checkoutUrl is an https address of Axra's checkout hosts [payments/checkout-sessions; unconfirmed for Axra's sandbox]", whenReached(checkCheckout)},
	{"optional-fields", "cancelUrl, description and customerEmail are accepted [payments/checkout-sessions]", accepts(withOptions)},
	{"metadata", "metadata of any depth and script is accepted [payments/checkout-sessions]", accepts(withMetadata)},
	{"placeholder", "{SESSION_ID} is accepted in successUrl (that it is replaced shows after a payment) [payments/checkout-sessions]", accepts(withPlaceholder)},
	{"repeat", "the same order twice makes two sessions", whenReached(checkRepeat)},
	{"error-form", "what a refusal looks like (the plugin reads the status only)", whenReached(checkErrorForm)},
	{"clock", "Axra's clock and this machine's agree", whenReached(checkClock)},
	{"plugin", "the plugin's own client opens a session with all that a gate sends", whenReached(checkPlugin)},
}

var (
	shortest        = minimal.with("expiresIn", 300)
	withPlaceholder = minimal.with("successUrl", "https://example.com/paid?s={SESSION_ID}")
	withOptions     = minimal.with("cancelUrl", "https://example.com/cancelled").
			with("description", "Conformance: not to be paid").with("customerEmail", "conformance@example.com")
	withMetadata = minimal.with("metadata", map[string]any{
		"text": "Łódź 東京 🙂 <&>", "deep": map[string]any{"list": []any{1, 1.5, true, nil, "x"}}, "empty": "",
	})
)

// whenReached keeps an assumption from being judged where no call was let in.
func whenReached(check func(*api) finding) func(*api) finding {
	return func(a *api) finding {
		if !a.reached {
			return isNotRun("no call has been let in")
		}
		return check(a)
	}
}

func accepts(o order) func(*api) finding {
	return whenReached(func(a *api) finding {
		got := a.create(o)
		switch {
		case got.missing() != "":
			return isNotRun("%s", got.missing())
		case got.ok():
			return isConfirmed("%v", got)
		}
		return isRefuted(reportIt, "%v", got)
	})
}

func refuses(o order) func(*api) finding {
	return whenReached(func(a *api) finding {
		got := a.create(o)
		switch {
		case got.missing() != "":
			return isNotRun("%s", got.missing())
		case got.refused():
			return isConfirmed("%v", got)
		}
		return isRefuted("nothing for now, the plugin never sends this; report it all the same", "%v", got)
	})
}

func notes(o order) func(*api) finding {
	return whenReached(func(a *api) finding {
		got := a.create(o)
		switch {
		case got.missing() != "":
			return isNotRun("%s", got.missing())
		case got.ok():
			return isNoted("accepted, and confirmed as %.10q", got.text("currency"))
		}
		return isNoted("refused: %v", got)
	})
}

func checkBase(a *api) finding {
	if why := a.asConfigured.missing(); why != "" {
		return isNotRun("at %s: %s", place(a.endpointGiven), why)
	}
	if !a.reached {
		return isNotRun("no call has been let in: at %s %v, at %s %v",
			place(a.endpointGiven), a.asConfigured, place(otherEndpoint(a.endpointGiven)), a.otherwise)
	}
	seen := fmt.Sprintf("at %s: %v; at %s: %v",
		place(a.endpointGiven), a.asConfigured, place(otherEndpoint(a.endpointGiven)), a.otherwise)
	if a.endpoint != a.endpointGiven {
		return isRefuted("in the global option axra: `endpoint "+a.endpoint+"`", "%s", seen)
	}
	return isConfirmed("%s", seen)
}

// place is an address without its scheme.
func place(endpoint string) string {
	_, rest, _ := strings.Cut(endpoint, "://")
	return rest
}

func checkKey(a *api) finding {
	switch got := a.firstAnswer(); {
	case got.letIn():
		return isConfirmed("%v", got)
	case got.missing() != "":
		return isNotRun("%s", got.missing())
	case a.reached:
		return isRefuted("in the global option axra: `api_secret {env.AXRA_API_SECRET}`, so that the key is exchanged for a token", "%v; a token is taken", got)
	case got.status != http.StatusUnauthorized && got.status != http.StatusForbidden:
		return isNotRun("%v: is AXRA_ENDPOINT right?", got)
	case a.secret == "":
		return isRefuted("check the key in Axra's dashboard; run again with AXRA_API_SECRET, to see whether `api_secret` helps", "%v", got)
	default:
		return isRefuted("check key and secret in Axra's dashboard", "%v; the token exchange failed as well", got)
	}
}

// firstAnswer is to the key alone, at the address that has turned out right.
func (a *api) firstAnswer() answer {
	if a.endpoint == a.endpointGiven {
		return a.asConfigured
	}
	return a.otherwise
}

func wantStatus(got answer, want int, advice string) finding {
	switch {
	case got.missing() != "":
		return isNotRun("%s", got.missing())
	case got.status == want:
		return isConfirmed("%v", got)
	}
	return isRefuted(advice, "%v", got)
}

func checkWrongKey(a *api) finding {
	got := a.call(a.endpoint, routeSession, minimal, http.Header{"X-Api-Key": {"bk_test_conformance_no_such_key"}})
	if got.status == http.StatusForbidden {
		return isRefuted("nothing: the plugin reads 403 as it reads 401", "%v", got)
	}
	return wantStatus(got, http.StatusUnauthorized, reportIt)
}

const noSecret = "AXRA_API_SECRET is not set"

func checkExchange(a *api) finding {
	if a.secret == "" {
		return isNotRun(noSecret)
	}
	got := a.exchange(a.credentials())
	life, _ := got.number("expiresIn").Int64()
	seen := fmt.Sprintf("%v %s, tokenType %.20q, expiresIn %d", got, members(got.data), got.text("tokenType"), life)
	switch {
	case got.missing() != "":
		return isNotRun("%s", got.missing())
	case got.text("accessToken") == "" || !strings.EqualFold(got.text("tokenType"), "Bearer"):
		return isRefuted("leave out `api_secret`, so that the key is sent by itself; report it", "%s", seen)
	case life != 3600 || got.text("businessId") == "" || got.text("businessName") == "":
		return isRefuted("nothing: the plugin follows expiresIn and reads no more; report it all the same", "%s", seen)
	}
	return isConfirmed("%s", seen)
}

func checkBearer(a *api) finding {
	if a.secret == "" {
		return isNotRun(noSecret)
	}
	token := a.exchange(a.credentials()).text("accessToken")
	if token == "" {
		return isNotRun("the exchange gave no token")
	}
	got := a.call(a.endpoint, routeSession, minimal, byBearer(token))
	switch {
	case got.missing() != "":
		return isNotRun("%s", got.missing())
	case got.letIn():
		return isConfirmed("%v", got)
	}
	return isRefuted("leave out `api_secret`, so that the key is sent by itself; report it", "%v", got)
}

func checkWrongSecret(a *api) finding {
	got := a.exchange(a.credentials().with("apiSecret", "bs_test_conformance_no_such_secret"))
	return wantStatus(got, http.StatusUnauthorized, "nothing for now, the plugin does not start without credentials; report it all the same")
}

func checkTokenField(a *api) finding {
	return wantStatus(a.exchange(a.credentials().without("apiSecret")), http.StatusBadRequest,
		"nothing: the plugin always sends both fields; report it all the same")
}

// whenOpened is for what can be seen of an open session only.
func whenOpened(a *api, check func(answer) finding) finding {
	got := a.create(minimal)
	if !got.ok() {
		return isNotRun("no session was opened: %v", got)
	}
	return check(got)
}

func checkEnvelope(a *api) finding {
	return whenOpened(a, func(got answer) finding {
		if got.enveloped {
			return isConfirmed("in the envelope")
		}
		return isConfirmed("bare")
	})
}

func checkAmount(a *api) finding {
	return whenOpened(a, func(got answer) finding {
		amount, currency := got.number("amount").String(), got.text("currency")
		seen := fmt.Sprintf("amount %.20q, currency %.10q", amount, currency)
		paid, err := money.ParsePaid(amount, currency)
		if err != nil || !paid.Equal(money.Price{Amount: money.Minimum, Currency: "usd"}) {
			return isRefuted(reportIt, "%s", seen)
		}
		return isConfirmed("%s", seen)
	})
}

func checkFields(a *api) finding {
	return whenOpened(a, func(got answer) finding {
		for _, name := range []string{"sessionId", "checkoutUrl", "expiresAt", "amount", "currency"} {
			if _, ok := got.data[name]; !ok {
				return isRefuted(reportIt, "%s, without %s", members(got.data), name)
			}
		}
		return isConfirmed("%s", members(got.data))
	})
}

var unreserved = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,256}$`)

func checkSessionID(a *api) finding {
	return whenOpened(a, func(got answer) finding {
		id := got.text("sessionId")
		switch {
		case id == "":
			return isNotRun("no sessionId")
		case !unreserved.MatchString(id):
			return isRefuted(reportIt, "%d bytes, some of them to be escaped", len(id))
		}
		return isConfirmed("%s", idForm(id))
	})
}

var idPrefix = regexp.MustCompile(`^[a-z]{1,10}_`)

// idForm says what an id looks like without saying it.
func idForm(id string) string {
	return fmt.Sprintf("%s… (%d characters)", idPrefix.FindString(id), len(id))
}

func checkCheckout(a *api) finding {
	return whenOpened(a, func(got answer) finding {
		u, err := url.Parse(got.text("checkoutUrl"))
		if err != nil || u.Hostname() == "" {
			return isRefuted(reportIt, "not an absolute address")
		}
		seen := urlForm(u)
		switch {
		case a.hosts.Allow(u):
			return isConfirmed("%s", seen)
		case a.hosts.Insecure || u.Scheme == "https":
			return isRefuted("in the global option axra: `checkout_hosts "+u.Host+"`", "%s", seen)
		}
		return isRefuted("report it: the plugin sends visitors to https only", "%s", seen)
	})
}

var word = regexp.MustCompile(`^[a-z]{0,12}$`)

// urlForm is a URL without what could be an id or a token.
func urlForm(u *url.URL) string {
	parts := strings.Split(u.Path, "/")
	for i, part := range parts {
		if !word.MatchString(part) {
			parts[i] = "…"
		}
	}
	form := u.Scheme + "://" + u.Host + strings.Join(parts, "/")
	if u.RawQuery != "" {
		form += "?…"
	}
	return form
}

func checkExpiry(a *api) finding {
	got := a.create(shortest)
	if !got.ok() {
		return isNotRun("no session was opened: %v", got)
	}
	text := got.text("expiresAt")
	expires, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return isRefuted("nothing for now, the plugin then counts from its own request; report it all the same", "%.40q", text)
	}
	const lifetime, tolerance = 300 * time.Second, time.Minute
	early, late := got.asked.Add(lifetime-tolerance), got.came.Add(lifetime+tolerance)
	seen := fmt.Sprintf("%s from now, for expiresIn 300", expires.Sub(got.came).Round(time.Second))
	if expires.Before(early) || expires.After(late) {
		return isRefuted("compare the clocks; report it if they agree", "%s", seen)
	}
	return isConfirmed("%s", seen)
}

func checkRepeat(a *api) finding {
	return whenOpened(a, func(first answer) finding {
		again := a.createAgain(minimal)
		one, two := first.text("sessionId"), again.text("sessionId")
		switch {
		case one == "" || two == "":
			return isNotRun("no sessionId: %v, then %v", first, again)
		case one == two:
			return isRefuted("report it: two visitors could share a session", "the same session twice")
		}
		return isConfirmed("two sessions")
	})
}

func checkErrorForm(a *api) finding {
	got := a.create(minimal.without("amount"))
	switch {
	case got.missing() != "":
		return isNotRun("%s", got.missing())
	case got.whole == nil:
		return isNoted("%v", got)
	}
	return isNoted("%d %s", got.status, members(got.whole))
}

func checkClock(a *api) finding {
	got := a.create(minimal)
	date, err := http.ParseTime(got.header.Get("Date"))
	if err != nil {
		return isNotRun("the answer has no Date")
	}
	const tolerance = time.Minute // the plugin's own, for expiresAt
	apart := got.came.Sub(date).Round(time.Second)
	if apart.Abs() > tolerance {
		return isRefuted("set this machine's clock (NTP); access begins and ends by it", "%s apart", apart.Abs())
	}
	return isConfirmed("within %s", tolerance)
}

// checkPlugin is the sum of it all: what a gate does when a visitor pays.
func checkPlugin(a *api) finding {
	secret := ""
	if a.bearer != "" {
		secret = a.secret
	}
	client := session.NewClient(session.ClientConfig{
		HTTP:     &http.Client{Transport: roundTripper(a.Do), CheckRedirect: a.client.CheckRedirect},
		Endpoint: a.endpoint, Key: a.key, Secret: secret, CheckoutHosts: a.hosts, Now: time.Now,
	})
	_, err := client.Create(a.ctx, gateOrder())
	switch {
	case errors.Is(err, session.ErrCheckoutURL):
		return isRefuted("see checkout-url", "%v", err)
	case errors.Is(err, session.ErrCredentials):
		return isRefuted("see auth-key", "%v", err)
	case err != nil && slices.ContainsFunc([]error{errTooMany, a.ctx.Err()}, func(is error) bool { return is != nil && errors.Is(err, is) }):
		return isNotRun("%v", err)
	case err != nil:
		return isRefuted("see what else is refuted, and report it", "%v", err)
	}
	return isConfirmed("a session that visitors can be sent to")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (do roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return do(request) }

func gateOrder() session.Order {
	return session.Order{
		Terms: terms.Terms{
			Installation: "conformance", Site: "https://example.com", Pass: "premium", Resource: terms.AllPaths,
			Price: money.Price{Amount: money.Minimum, Currency: "usd"}, Access: terms.Forever, Devices: 5, Claim: true,
		},
		SuccessURL:  "https://example.com/premium/?axra_session={SESSION_ID}&axra_q=YT1i",
		CancelURL:   "https://example.com/premium/?axra_cancelled=1",
		Description: "Conformance: not to be paid",
		ExpiresIn:   session.DefaultExpiresIn,
		Metadata:    map[string]string{"campaign": "Łódź"},
	}
}
