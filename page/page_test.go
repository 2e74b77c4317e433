package page

import (
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// maxSize is the size in bytes that every page stays under.
const maxSize = 15 << 10

// full returns a view of the kind with every field in use.
func full(kind Kind) View {
	v := View{
		Kind:        kind,
		Site:        "example.com",
		Description: "Thirty days of the premium section",
		Price:       "5.00 USD",
		NextURL:     "/premium/a?x=1&y=2",
		CheckURL:    "/premium/a?axra_session=cs_123",
		Reference:   "cs_123",
		FormTargets: []string{"https://checkout.example"},
	}
	switch kind {
	case Waiting, Processing:
		v.Refresh = 5 * time.Second
		v.PollURL = "/premium/a?axra_session=cs_123&axra_poll=1"
	case Offer:
		for _, access := range []time.Duration{24 * time.Hour, 30 * 24 * time.Hour, -1} {
			v.Quotes = append(v.Quotes, Quote{Name: "pass", Description: "The premium section " + access.String(), Price: "5.00 USD", Access: access, URL: "/premium/a?axra_checkout=pass"})
		}
	case TooMany, Unavailable, PaymentSafe:
		v.RetryAfter = 30 * time.Second
	case Receipt:
		v.ExtendURL = "/premium/a?axra_extend=1"
		v.DeviceURL = "https://example.com/premium/a?axra_device=" + token(maxCodeAddress-42)
		v.LinkURL = "https://example.com/premium/feed.xml?axra_key=" + token(300)
		v.Bought = time.Date(2026, 11, 24, 15, 5, 0, 0, time.FixedZone("EAT", 3*3600))
		v.Until = v.Bought.Add(30 * 24 * time.Hour)
		v.Devices, v.DevicesLimit, v.Downloads, v.DownloadsLimit = 2, 3, 7, 10
	case Device, Gift, Claim, ClaimLater, Required:
		v.FormURL = "/premium/a?axra_claim=cs_123&x=1"
		v.Devices, v.DevicesLimit = 1, 3
	case DownloadsUsed:
		v.Downloads, v.DownloadsLimit = 10, 10
	}
	return v
}

// token returns n characters that are as hard to draw as those of a signed token.
func token(n int) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, n)
	for i := range text {
		text[i] = digits[random.IntN(len(digits))]
	}
	return string(text)
}

func send(t *testing.T, method string, v View) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := Write(w, httptest.NewRequest(method, "/premium/a", nil), v); err != nil {
		t.Fatal(err)
	}
	return w
}

// usual lists every kind of page with its status.
var usual = map[Kind]int{
	Receipt: 200, Device: 200, Gift: 200, Given: 200, DeviceRefused: 403, DeviceFull: 403, LinkEnded: 402, ForProgram: 200, Claim: 402, ClaimLater: 402, DownloadsUsed: 402, Offer: 402, Waiting: 402, StillWaiting: 402, Processing: 402, Failed: 402, Cancelled: 402, Expired: 402,
	NotYours: 403, PaymentSafe: 503, Unavailable: 503, TooMany: 429, Refunded: 402, Disputed: 402, Revoked: 402,
	Mismatch: 402, Required: 402, BadAddress: 400, TooLong: 414, TooManyPurchases: 402, Misconfigured: 500,
}

func TestEveryKind(t *testing.T) {
	for kind, status := range usual {
		t.Run(string(kind), func(t *testing.T) {
			v := full(kind)
			w := send(t, http.MethodGet, v)
			if w.Code != status {
				t.Errorf("status %d, want %d", w.Code, status)
			}
			checkHeaders(t, v, w)
			checkPage(t, v, w.Body.String())
			checkPolicy(t, v, w)
			if got := send(t, http.MethodGet, View{Kind: kind, Status: 418}); got.Code != 418 {
				t.Errorf("status %d, want the one asked for", got.Code)
			} else {
				checkWellFormed(t, got.Body.String())
			}
		})
	}
}

func checkHeaders(t *testing.T, v View, w *httptest.ResponseRecorder) {
	t.Helper()
	want := map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Content-Length":         strconv.Itoa(w.Body.Len()),
		"Content-Language":       "en",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
		"X-Robots-Tag":           "noindex",
		"Retry-After":            "",
	}
	if v.FormURL != "" || len(v.Quotes) > 0 {
		want["Referrer-Policy"] = "strict-origin"
	}
	if v.RetryAfter > 0 {
		want["Retry-After"] = "30"
	}
	for name, value := range want {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if got := strings.Join(w.Header().Values("Vary"), ", "); got != "Accept-Language, Cookie" {
		t.Errorf("Vary: %q", got)
	}
}

// checkPage checks what assistive technology and slow networks rely on.
func checkPage(t *testing.T, v View, body string) {
	t.Helper()
	if len(body) > maxSize {
		t.Errorf("%d bytes", len(body))
	}
	checkWellFormed(t, body)
	root := parse(t, body)
	for _, name := range []string{"h1", "title", "main", "header"} {
		if found := all(root, name); len(found) != 1 || strings.TrimSpace(text(found[0])) == "" {
			t.Errorf("want one <%s> with text, got %d", name, len(found))
		}
	}
	if got := attr(all(root, "html")[0], "lang"); got != "en" {
		t.Errorf("lang %q", got)
	}
	message := texts().list[0].Pages[v.Kind].fill(v.Site, v.DownloadsLimit)
	shown := text(all(root, "body")[0])
	for _, want := range []string{message.Title, message.What, message.Money, message.Next, message.Link, message.Button, v.Site, v.Description, v.Price, v.Reference} {
		if !strings.Contains(shown, want) {
			t.Errorf("page does not say %q", want)
		}
	}
	if strings.ContainsAny(shown, "{}") {
		t.Error("a placeholder was left unfilled")
	}
	for _, address := range []string{v.DeviceURL, v.LinkURL, v.NextURL} { // to follow or to copy, not to load
		if address != "" {
			body = strings.ReplaceAll(body, html.EscapeString(address), "")
		}
	}
	if strings.Contains(body, "://") || strings.Contains(body, `"//`) {
		t.Error("page names an outside address")
	}
	for _, name := range []string{"img", "link", "iframe", "object", "base"} {
		if len(all(root, name)) > 0 {
			t.Errorf("page has a <%s>", name)
		}
	}
	forms := len(v.Quotes)
	if v.FormURL != "" {
		forms++
	}
	if got := len(all(root, "form")); got != forms {
		t.Errorf("%d forms, want %d", got, forms)
	}
	if primary := regexp.MustCompile(`class="primary"`).FindAllString(body, -1); len(primary) != 1+len(v.Quotes) {
		t.Errorf("%d primary links", len(primary))
	}
}

// checkWellFormed fails unless every element is closed in its turn and ids are unique: a parser would
// repair such faults in silence.
func checkWellFormed(t *testing.T, body string) {
	t.Helper()
	void := map[string]bool{"meta": true, "br": true, "input": true}
	var open []string
	ids := map[string]bool{}
	z := html.NewTokenizer(strings.NewReader(body))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		token := z.Token()
		for _, a := range token.Attr {
			if a.Key == "id" {
				if ids[a.Val] {
					t.Errorf("id %q twice", a.Val)
				}
				ids[a.Val] = true
			}
		}
		switch {
		case kind == html.StartTagToken && !void[token.Data]:
			open = append(open, token.Data)
		case kind == html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				t.Fatalf("</%s> closes nothing; open: %v", token.Data, open)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("never closed: %v", open)
	}
}

// checkPolicy compares the hashes in the policy with the bytes that a browser would hash.
func checkPolicy(t *testing.T, v View, w *httptest.ResponseRecorder) {
	t.Helper()
	root := parse(t, w.Body.String())
	directives := map[string]string{}
	for part := range strings.SplitSeq(w.Header().Get("Content-Security-Policy"), "; ") {
		name, value, _ := strings.Cut(part, " ")
		directives[name] = value
	}
	script, connect, form := "'none'", "'none'", "'none'"
	if v.PollURL != "" {
		connect = "'self'"
	}
	if v.FormURL != "" || len(v.Quotes) > 0 {
		form = "'self' https://checkout.example"
	}
	var hashes []string
	for _, element := range all(root, "script") {
		hashes = append(hashes, cspHash(text(element)))
	}
	if len(hashes) > 0 {
		script = strings.Join(hashes, " ")
	}
	if (len(hashes) == 1) != (v.PollURL != "") || len(hashes) > 1 {
		t.Errorf("%d scripts", len(hashes))
	}
	want := map[string]string{
		"default-src": "'none'", "style-src": cspHash(text(all(root, "style")[0])), "script-src": script,
		"connect-src": connect, "base-uri": "'none'", "form-action": form, "frame-ancestors": "'none'",
	}
	if !reflect.DeepEqual(directives, want) {
		t.Errorf("policy\n%v, want\n%v", directives, want)
	}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("the policy forbids the inline attribute %s", a.Key)
			}
		}
	}
}

func TestRefresh(t *testing.T) {
	const check, poll = "/a?s=1&t=2", "/a?poll=1"
	for name, c := range map[string]struct {
		polling    Polling
		check      string
		meta       string // content of the meta refresh as a browser without scripts reads it
		inNoscript bool
	}{
		"none":               {Polling{}, "", "", false},
		"without script":     {Polling{Refresh: 5 * time.Second}, check, "5;url=" + check, false},
		"with script":        {Polling{Refresh: 5 * time.Second, PollURL: poll}, check, "5;url=" + check, true},
		"rounded up":         {Polling{Refresh: 1500 * time.Millisecond}, check, "2;url=" + check, false},
		"no address":         {Polling{Refresh: 5 * time.Second}, "", "5", false},
		"address is hostile": {Polling{Refresh: 5 * time.Second}, "javascript:alert(1)", "5", false},
		"poll alone":         {Polling{PollURL: poll}, "", "5", true},
		"negative":           {Polling{Refresh: -time.Second}, check, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			body := send(t, http.MethodGet, View{Kind: Waiting, CheckURL: c.check, Polling: c.polling}).Body.String()
			var got string
			var inNoscript bool
			for _, meta := range all(parse(t, body), "meta") {
				if attr(meta, "http-equiv") == "refresh" {
					got = attr(meta, "content")
					inNoscript = meta.Parent.Data == "noscript"
				}
			}
			if got != c.meta || inNoscript != c.inNoscript {
				t.Errorf("refresh %q (in noscript: %v), want %q (%v)", got, inNoscript, c.meta, c.inNoscript)
			}
			if live := strings.Contains(body, `aria-live="polite"`); live != (c.meta != "") {
				t.Errorf("says that it refreshes itself: %v", live)
			}
		})
	}
}

func TestScriptData(t *testing.T) {
	v := full(Waiting)
	root := parse(t, send(t, http.MethodGet, v).Body.String())
	for _, p := range all(root, "p") {
		if attr(p, "id") != "live" {
			continue
		}
		for name, want := range map[string]string{
			"data-poll-url": v.PollURL, "data-check-url": v.CheckURL, "data-first": "5",
			"data-waiting": texts().list[0].Labels["live_waiting"], "data-elapsed": texts().list[0].Labels["live_elapsed"],
		} {
			if got := attr(p, name); got != want {
				t.Errorf("%s %q, want %q", name, got, want)
			}
		}
		return
	}
	t.Error("no live line")
}

func TestHostileTexts(t *testing.T) {
	const evil = `</title></style></script></noscript><script>alert(1)</script><img src=x onerror=alert(1)>"'` + "`{site}{n}\u2028"
	v := full(Waiting)
	v.Site, v.Description, v.Price, v.Reference = evil, evil, evil, evil
	w := send(t, http.MethodGet, v)
	checkWellFormed(t, w.Body.String())
	checkPolicy(t, v, w)
	root := parse(t, w.Body.String())
	if n := len(all(root, "img")) + len(all(root, "script")); n != 1 {
		t.Errorf("%d active elements, want our script alone", n)
	}
	if n := strings.Count(text(root), evil); n != 5 { // title, header, and three details
		t.Errorf("the text is shown %d times as it is, want 5", n)
	}
}

func TestHostileURLs(t *testing.T) {
	for _, address := range []string{
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)",
		"data:text/html,<script>alert(1)</script>", "vbscript:x", "//evil.example", "/\\evil.example", "\\\\evil.example",
		"https:evil.example", "https:///evil", "/a\r\nSet-Cookie: x=1", "evil", "#", "mailto:x@example.com", "/%zz",
	} {
		v := View{Kind: Waiting, NextURL: address, CheckURL: address, Polling: Polling{Refresh: time.Second, PollURL: address}}
		body := send(t, http.MethodGet, v).Body.String()
		root := parse(t, body)
		if len(all(root, "a")) > 0 || len(all(root, "script")) > 0 || strings.Contains(body, "url=") {
			t.Errorf("%q is on the page", address)
		}
	}
	for _, address := range []string{`/a"><script>alert(1)</script>`, `/a'onfocus=alert(1)`, `/a</noscript><script>alert(1)</script>`} {
		v := View{Kind: Waiting, NextURL: address, CheckURL: address, Polling: Polling{Refresh: time.Second, PollURL: address}}
		w := send(t, http.MethodGet, v)
		checkWellFormed(t, w.Body.String())
		checkPolicy(t, v, w)
		if strings.Contains(w.Body.String(), "<script>alert") {
			t.Errorf("%q broke out", address)
		}
	}
	for _, address := range []string{"/", "/a?b=c&d=%2F", "?a=b", "https://pay.useaxra.com/c/1", "http://localhost:8080/a", "/:x", "/a//b"} {
		root := parse(t, send(t, http.MethodGet, View{Kind: Failed, NextURL: address}).Body.String())
		if links := all(root, "a"); len(links) != 1 || attr(links[0], "href") != address {
			t.Errorf("%q is not linked", address)
		}
	}
}

func TestHead(t *testing.T) {
	get, head := send(t, http.MethodGet, full(TooMany)), send(t, http.MethodHead, full(TooMany))
	if head.Body.Len() != 0 {
		t.Error("HEAD got a body")
	}
	if head.Code != get.Code || !reflect.DeepEqual(head.Header(), get.Header()) {
		t.Errorf("HEAD got %d %v, GET %d %v", head.Code, head.Header(), get.Code, get.Header())
	}
}

func TestRetryAfter(t *testing.T) {
	for wait, want := range map[time.Duration]struct{ header, words string }{
		time.Nanosecond:         {"1", "Please wait 1 second."},
		1001 * time.Millisecond: {"2", "Please wait 2 seconds."},
		2 * time.Minute:         {"120", "Please wait 120 seconds."},
		121 * time.Second:       {"121", "Please wait 3 minutes."},
		math.MaxInt64:           {"9223372037", "Please wait 153722868 minutes."},
		0:                       {"", ""},
		-time.Second:            {"", ""},
	} {
		w := send(t, http.MethodGet, View{Kind: TooMany, RetryAfter: wait})
		if got := w.Header().Get("Retry-After"); got != want.header {
			t.Errorf("%v: header %q, want %q", wait, got, want.header)
		}
		if said := strings.Contains(w.Body.String(), "Please wait"); said != (want.words != "") || !strings.Contains(w.Body.String(), want.words) {
			t.Errorf("%v: page does not say %q", wait, want.words)
		}
	}
}

// TestContrast computes the contrast that WCAG 2.2 AA asks for: 4.5 for text, 3 for what bounds a control.
func TestContrast(t *testing.T) {
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(styleSource, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d colour schemes", len(blocks))
	}
	for i, block := range blocks {
		colour := map[string]string{}
		for _, found := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(block[1], -1) {
			colour[found[1]] = found[2]
		}
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{"text", "card", 4.5},
			{"soft", "card", 4.5},
			{"text", "note", 4.5},
			{"soft", "note", 4.5},
			{"on-main", "main", 4.5},
			{"on-main", "over", 4.5},
			{"edge", "card", 3},
			{"main", "card", 3},
			{"main", "note", 3},
		} {
			if got := contrast(t, colour[c.front], colour[c.back]); got < c.least {
				t.Errorf("scheme %d: %s on %s: %.2f, want %.1f", i, c.front, c.back, got, c.least)
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	channel := func(shift int) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

// parse reads the page as a browser without scripts does.
func parse(t *testing.T, body string) *html.Node {
	t.Helper()
	root, err := html.ParseWithOptions(strings.NewReader(body), html.ParseOptionEnableScripting(false))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func all(root *html.Node, name string) []*html.Node {
	var found []*html.Node
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text returns the text inside n; style and script only count when n is one.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		inSource := d.Parent != n && (d.Parent.Data == "style" || d.Parent.Data == "script")
		if d.Type == html.TextNode && !inSource {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func TestButton(t *testing.T) {
	for address, want := range map[string]string{
		"/a?axra_claim=1&b=2": "/a?axra_claim=1&b=2", "?axra_claim=1": "?axra_claim=1", "": "",
		"https://evil.example/": "", "//evil.example/": "", "javascript:alert(1)": "", "/\\evil.example": "",
	} {
		for kind := range usual {
			v := View{Kind: kind, FormURL: address}
			w := send(t, http.MethodGet, v)
			forms := all(parse(t, w.Body.String()), "form")
			if want == "" || !withButton[kind] {
				if len(forms) > 0 || !strings.Contains(w.Header().Get("Content-Security-Policy"), "form-action 'none'") {
					t.Errorf("%s, %q: a form, or leave for one", kind, address)
				}
				continue
			}
			if len(forms) != 1 {
				t.Errorf("%s, %q: no form", kind, address)
				continue
			}
			buttons := all(forms[0], "button")
			if attr(forms[0], "method") != "post" || attr(forms[0], "action") != want ||
				len(buttons) != 1 || text(buttons[0]) != texts().list[0].Pages[kind].Button {
				t.Errorf("%s, %q: a wrong form: %v", kind, address, forms[0].Attr)
			}
		}
	}
}

func TestReceipt(t *testing.T) {
	v := full(Receipt)
	for name, c := range map[string]struct {
		change  func(*View)
		says    []string
		saysNot []string
	}{
		"everything": {
			func(*View) {},
			[]string{"Or scan this code", "Bought2026-11-24 12:05 UTC", "Access until2026-12-24 12:05 UTC", "Devices used2 of 3", "Downloads used7 of 10", "Extend access", "Open on another device", "podcast"},
			[]string{"no expiry"},
		},
		"no expiry":          {func(v *View) { v.Forever = true }, []string{"Accessno expiry"}, []string{"until"}},
		"no times":           {func(v *View) { v.Bought, v.Until = time.Time{}, time.Time{} }, nil, []string{"Bought", "until", "UTC"}},
		"none used":          {func(v *View) { v.Devices, v.Downloads = 0, 0 }, []string{"0 of 3", "0 of 10"}, nil},
		"no limits":          {func(v *View) { v.DevicesLimit, v.DownloadsLimit = 0, 0 }, nil, []string{"used2", "used7"}},
		"no device link":     {func(v *View) { v.DeviceURL = "" }, nil, []string{"another device"}},
		"device link hidden": {func(v *View) { v.DeviceURL = "/a" }, nil, []string{"another device"}},
		"device link hurts":  {func(v *View) { v.DeviceURL = "javascript:alert(1)" }, nil, []string{"another device"}},
		"device link long":   {func(v *View) { v.DeviceURL += "xx" + token(9) }, []string{"Link for the other device"}, []string{"scan"}},
		"no private address": {func(v *View) { v.LinkURL = "" }, nil, []string{"podcast"}},
		"private is not":     {func(v *View) { v.LinkURL = "/a" }, nil, []string{"podcast"}},
		"not longer":         {func(v *View) { v.ExtendURL = "data:text/html,x" }, nil, []string{"Extend"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := v
			c.change(&v)
			body := send(t, http.MethodGet, v).Body.String()
			checkWellFormed(t, body)
			root := parse(t, body)
			shown := text(all(root, "main")[0])
			for _, want := range c.says {
				if !strings.Contains(shown, want) {
					t.Errorf("does not say %q", want)
				}
			}
			for _, unwanted := range c.saysNot {
				if strings.Contains(shown, unwanted) {
					t.Errorf("says %q", unwanted)
				}
			}
		})
	}
	root := parse(t, send(t, http.MethodGet, v).Body.String())
	if times := all(root, "time"); len(times) != 2 || attr(times[0], "datetime") != "2026-11-24T12:05:00Z" {
		t.Error("no times for programs")
	}
	if inputs := all(root, "input"); len(inputs) != 1 || attr(inputs[0], "value") != v.LinkURL {
		t.Error("no private address to copy")
	}
	var links []string
	for _, a := range all(root, "a") {
		links = append(links, attr(a, "href"))
	}
	if !slices.Contains(links, v.DeviceURL) || !slices.Contains(links, v.ExtendURL) {
		t.Errorf("links to %q", links)
	}
}

func TestButtonsToBuyDiffer(t *testing.T) {
	v := View{Kind: Offer, OfferPage: OfferPage{Quotes: []Quote{
		{Name: "here", Description: "Day pass", Price: "2.00 USD", URL: "/a?b=1"},
		{Name: "everywhere", Description: "Day pass", Price: "2.00 USD", URL: "/a?b=2"},
		{Name: "plain", Price: "2.00 USD", URL: "/a?b=3"},
		{Name: "unreachable", Price: "2.00 USD", URL: "//evil.example"},
	}}}
	var got []string
	for _, button := range all(parse(t, send(t, http.MethodGet, v).Body.String()), "button") {
		got = append(got, text(button))
	}
	want := []string{"Buy Day pass for 2.00 USD", "Buy Day pass (everywhere) for 2.00 USD", "Buy plain for 2.00 USD"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestOwnersWords(t *testing.T) {
	v := full(Offer)
	v.Title, v.Text = "كل المقالات", "Read {site} & <b>more</b>"
	body := send(t, http.MethodGet, v).Body.String()
	checkWellFormed(t, body)
	root := parse(t, body)
	if title := all(root, "h1")[0]; text(title) != v.Title || len(all(title, "bdi")) != 1 {
		t.Errorf("heading %q", text(title))
	}
	if first := all(all(root, "main")[0], "p")[0]; text(first) != v.Text || len(all(first, "bdi")) != 1 {
		t.Errorf("first sentence %q", text(first))
	}
	if !strings.HasPrefix(text(all(root, "title")[0]), v.Title) {
		t.Error("another title")
	}
}

func TestDownloadsUsed(t *testing.T) {
	v := View{Kind: DownloadsUsed, Purchase: Purchase{Downloads: 3, DownloadsLimit: 3}}
	if body := send(t, http.MethodGet, v).Body.String(); !strings.Contains(body, "purchase: 3.") || !strings.Contains(body, "3 of 3") {
		t.Error("does not say how many")
	}
}
