package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-axra/paywall/token"
)

// keys is a token.Store that holds one set of keys for good.
type keys struct{ set token.KeySet }

func (k keys) Keys(context.Context) (token.KeySet, error) { return k.set, nil }

func (keys) ChangeKeys(context.Context, func(token.KeySet) ([]token.StoredKey, error)) (token.KeySet, error) {
	return token.KeySet{}, fs.ErrPermission
}

// signerOf returns a keyring whose only key is 32 times the byte.
func signerOf(t testing.TB, c *clock, secret byte) *token.Keyring {
	t.Helper()
	made := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	keyring := token.NewKeyring(c.now)
	err := keyring.Refresh(context.Background(), keys{token.KeySet{Installation: fmt.Sprintf("i%d", secret), Keys: []token.StoredKey{{
		ID: "aaaa", Algorithm: token.HS256, Secret: bytes.Repeat([]byte{secret}, 32), CreatedAt: made, SignFrom: made,
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	return keyring
}

func started(c *clock) Pending {
	return Pending{
		Session: "cs_1", CheckoutURL: "https://pay.useaxra.com/c/cs_1?" + checkoutQuery,
		ExpiresAt: c.now().Add(30 * time.Minute), Scope: Scope("https://example.com", "premium", "*"), Price: "5.00 USD",
	}
}

func mustEncode(t testing.TB, signer *token.Keyring, p Pending) string {
	t.Helper()
	raw, err := p.Encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func samePending(a, b Pending) bool {
	if !a.ExpiresAt.Equal(b.ExpiresAt) || !a.ReturnedAt.Equal(b.ReturnedAt) {
		return false
	}
	a.ExpiresAt, a.ReturnedAt = b.ExpiresAt, b.ReturnedAt
	return a == b
}

func TestPendingSurvivesItsCookie(t *testing.T) {
	c := newClock()
	signer := signerOf(t, c, 1)
	for name, change := range map[string]func(*Pending){
		"started":            func(*Pending) {},
		"returned":           func(p *Pending) { p.State, p.ReturnedAt = Returned, c.now().Add(time.Millisecond) },
		"cancelled":          func(p *Pending) { p.State, p.CheckoutURL = Cancelled, "" },
		"HTML in everything": func(p *Pending) { p.Session, p.CheckoutURL, p.Price = `<b>"&'`, "https://x/?a=<&b=>", "<i>" },
		"other scripts":      func(p *Pending) { p.Session, p.Price = "сеанс", "5,00 €" },
		"line separators":    func(p *Pending) { p.Session = "a\u2028b\u2029c\x00\n" },
		"nothing else":       func(p *Pending) { *p = Pending{Session: "s", ExpiresAt: p.ExpiresAt} },
	} {
		want := started(c)
		change(&want)
		raw := mustEncode(t, signer, want)
		if strings.ContainsAny(raw, "\",;\\ ") {
			t.Errorf("%s: not fit for a cookie: %s", name, raw)
		}
		if got, err := DecodePending(signer, raw); err != nil || !samePending(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestS7ALongCheckoutURLIsDropped(t *testing.T) {
	c := newClock()
	signer := signerOf(t, c, 1)
	for length, kept := range map[int]bool{100: true, maxCheckoutURL: false} {
		p := started(c)
		p.Session, p.CheckoutURL = strings.Repeat("x", 256), "https://pay.useaxra.com/"+strings.Repeat("x", length-24)
		raw := mustEncode(t, signer, p)
		got, err := DecodePending(signer, raw)
		if err != nil || len(raw) > maxPending || (got.CheckoutURL != "") != kept || got.Reusable(c.now()) != kept {
			t.Errorf("a URL of %d bytes: %d bytes, %+v, %v", length, len(raw), got, err)
		}
		if got.CheckoutURL = p.CheckoutURL; !samePending(got, p) {
			t.Errorf("got %+v", got)
		}
	}
}

func TestS7TwentyTabsStayBelowTheHeaderLimitAndApart(t *testing.T) {
	c := newClock()
	signer := signerOf(t, c, 1)
	names, size := make(map[string]bool), 0
	for i := range 20 {
		p := started(c)
		p.Session = fmt.Sprintf("cs_01HXAMPLE%020d; Path=/\r\n", i)
		name := p.CookieName("__Host-axra_pending_")
		p.State, p.Price = Returned, "1.00 EUR"
		if name != p.CookieName("__Host-axra_pending_") || strings.Trim(name[20:], "0123456789abcdef") != "" {
			t.Errorf("the name of a session's cookie is %q", name)
		}
		names[name] = true
		size += len(name) + len("=; ") + len(mustEncode(t, signer, p))
	}
	if len(names) != 20 || size > 15<<10 {
		t.Errorf("%d names for 20 sessions, %d bytes", len(names), size)
	}
}

func TestS4ScopesDiffer(t *testing.T) {
	scopes := make(map[string]bool)
	all := [][3]string{
		{"https://example.com", "premium", "*"}, {"https://example.com", "premium", "/a"}, {"https://example.com", "cheap", "*"},
		{"https://example.com:8443", "premium", "*"}, {"http://example.com", "premium", "*"}, {"https://example.compremium", "", "*"}, {},
	}
	for _, parts := range slices.Concat(all, all) {
		scopes[Scope(parts[0], parts[1], parts[2])] = true
	}
	if len(scopes) != len(all) {
		t.Errorf("%d scopes for %d products", len(scopes), len(all))
	}
}

func TestForeignPendingCookiesAreRefused(t *testing.T) {
	c := newClock()
	signer := signerOf(t, c, 1)
	good := mustEncode(t, signer, started(c))
	access, _, err := signer.SignAccess(token.Access{
		Site: "https://example.com", Pass: "premium", Resource: "*", Purchase: "p1", Device: "d1", Until: c.now().Add(time.Hour),
	}, token.HS256)
	if err != nil {
		t.Fatal(err)
	}
	otherClaims := func(claims jwt.MapClaims) string {
		raw, err := signer.Sign(token.Pending, claims)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	head, rest, _ := strings.Cut(good, ".")
	end := c.now().Add(time.Hour)
	for _, test := range []struct{ name, raw string }{
		{"S1 of another installation", mustEncode(t, signerOf(t, c, 2), started(c))},
		{"T1 unsigned", good[:strings.LastIndex(good, ".")+1]},
		{"T1 other claims under the same signature", head + "." + segmentOf(`{"s":"cs_2","e":"2099-12-31T00:00:00Z"}`) + rest[strings.Index(rest, "."):]},
		{"T3 no end", otherClaims(jwt.MapClaims{"s": "cs_1"})},
		{"T3 the end of a JWT, but none of ours", otherClaims(jwt.MapClaims{"s": "cs_1", "exp": end.Unix()})},
		{"T3 ended long ago", otherClaims(jwt.MapClaims{"s": "cs_1", "e": time.Unix(1, 0).UTC()})},
		{"an empty session", otherClaims(jwt.MapClaims{"s": "", "e": end})},
		{"T5 empty", ""},
		{"T5 truncated", good[:len(good)-1]},
		{"T5 trailing newline", good + "\n"},
		{"T5 oversized", otherClaims(jwt.MapClaims{"s": "cs_1", "e": end, "x": strings.Repeat("x", token.MaxSize)})},
		{"T6 an access token", access},
	} {
		if got, err := DecodePending(signer, test.raw); err == nil || got != (Pending{}) {
			t.Errorf("%s: got %+v, %v", test.name, got, err)
		}
	}
}

func segmentOf(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestPendingOutlivesItsCheckoutByAWeek(t *testing.T) {
	c := newClock()
	signer := signerOf(t, c, 1)
	raw := mustEncode(t, signer, started(c))
	c.advance(30*time.Minute + PendingLife - time.Second)
	if _, err := DecodePending(signer, raw); err != nil {
		t.Errorf("a payment that is confirmed late finds no browser: %v", err)
	}
	c.advance(time.Second)
	if _, err := DecodePending(signer, raw); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("after its end: %v", err)
	}
}

func TestAKeptEntryLastsAsLongAsItsAccess(t *testing.T) {
	c := newClock()
	for name, test := range map[string]struct{ until, want time.Time }{
		"30 days":     {c.now().Add(30 * 24 * time.Hour), c.now().Add(30 * 24 * time.Hour)},
		"too long":    {c.now().Add(1000 * 24 * time.Hour), c.now().Add(400 * 24 * time.Hour)},
		"no expiry":   {time.Time{}, c.now().Add(400 * 24 * time.Hour)},
		"a few hours": {c.now().Add(3 * time.Hour), c.now().Add(3 * time.Hour)},
	} {
		kept := started(c).Keep(test.until, c.now())
		if !kept.Expires().Equal(test.want) || kept.State != Kept || kept.Reusable(c.now()) {
			t.Errorf("%s: %+v ends at %s, want %s", name, kept, kept.Expires(), test.want)
		}
	}
}

func TestReusable(t *testing.T) {
	c := newClock()
	for name, test := range map[string]struct {
		change func(*Pending)
		want   bool
	}{
		"C3 started and open":                      {func(*Pending) {}, true},
		"31 seconds left":                          {func(p *Pending) { p.ExpiresAt = c.now().Add(31 * time.Second) }, true},
		"30 seconds left: too late to pay":         {func(p *Pending) { p.ExpiresAt = c.now().Add(30 * time.Second) }, false},
		"S6 returned: a payment may be on its way": {func(p *Pending) { p.State = Returned }, false},
		"S6 cancelled":                             {func(p *Pending) { p.State = Cancelled }, false},
		"without its URL":                          {func(p *Pending) { p.CheckoutURL = "" }, false},
	} {
		p := started(c)
		if test.change(&p); p.Reusable(c.now()) != test.want {
			t.Errorf("%s: want %t", name, test.want)
		}
	}
}

// FuzzDecodePending: a cookie that is accepted bears the one signature that we
// give, and whatever Axra names a session comes back as it was.
func FuzzDecodePending(f *testing.F) {
	c := newClock()
	signer := signerOf(f, c, 1)
	good := mustEncode(f, signer, started(c))
	f.Add(good, "cs_1", "https://pay.useaxra.com/c/cs_1", "5.00 USD")
	f.Add(good+"\n", "", "", "")
	f.Add(good[:len(good)-1], "<b>\u2028\x00", "https://x/?"+strings.Repeat("x", maxPending), "5,00 €")
	f.Add(strings.Replace(good, ".", "..", 1), "cs_\xff", "javascript:", "\ud7ff")
	f.Add("a.b.c", strings.Repeat("x", 256), strings.Repeat("\x00", 512), "")
	f.Fuzz(func(t *testing.T, raw, session, checkoutURL, price string) {
		if got, err := DecodePending(signer, raw); err == nil {
			if again := mustEncode(t, signer, got); again != raw {
				t.Fatalf("accepted %q, which reads as %q", raw, again)
			}
			if got.Session == "" || !got.Expires().After(c.now()) {
				t.Fatalf("accepted %+v", got)
			}
		} else if got != (Pending{}) {
			t.Fatalf("%+v beside %v", got, err)
		}

		want := started(c)
		want.Session, want.CheckoutURL, want.Price = session, checkoutURL, price
		if session == "" || len(session) > 256 || len(price) > 64 ||
			!utf8.ValidString(session) || !utf8.ValidString(checkoutURL) || !utf8.ValidString(price) {
			return // nothing that Client.Create or a price gives
		}
		cookie := mustEncode(t, signer, want)
		// Control characters take six bytes each.
		if len(cookie) > maxPending && len(session) < 64 {
			t.Fatalf("%d bytes for the session %q", len(cookie), session)
		}
		got, err := DecodePending(signer, cookie)
		if err != nil {
			t.Fatal(err)
		}
		if got.CheckoutURL == "" {
			want.CheckoutURL = ""
		}
		if !samePending(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		// The reader of one cookie is not led astray by the end of another.
		if mixed, err := DecodePending(signer, cookie[:len(cookie)-1]+"\n"); err == nil {
			t.Fatalf("accepted %+v", mixed)
		}
	})
}
