package access

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/token"
)

// remember are the states of memory in which a token may come by.
var remember = map[string]func(n *node, raw string){
	"not remembered": func(*node, string) {},
	"remembered":     func(n *node, raw string) { n.verify(raw) },
}

func TestTokensThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		refuse func(n *node, raw string) error
	}{
		{"of another site", func(n *node, raw string) error { _, err := n.Verify(raw, "https://example.org", n.now()); return err }},
		{"of another host by the same letters", func(n *node, raw string) error {
			_, err := n.Verify(raw, site+":8443", n.now())
			return err
		}},
		{"as a private address", func(n *node, raw string) error { _, err := n.verifyLink(raw, site); return err }},
		{"of a key that was removed here", func(n *node, raw string) error {
			if err := n.keyring.Remove(t.Context(), n.store, n.verify(raw).Key, token.HS256); err != nil {
				t.Fatal(err)
			}
			_, err := n.Verify(raw, site, n.now())
			return err
		}},
		{"of a key that was removed elsewhere", func(n *node, raw string) error {
			if err := n.anotherNode().Remove(t.Context(), n.store, n.verify(raw).Key, token.HS256); err != nil {
				t.Fatal(err)
			}
			n.ledger.tell("")
			n.mustPoll()
			_, err := n.Verify(raw, site, n.now())
			return err
		}},
		{"other claims, the same signature", func(n *node, raw string) error {
			parts := strings.Split(raw, ".")
			claims, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err != nil {
				t.Fatal(err)
			}
			parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(claims), "premium", "another", 1)))
			if strings.Join(parts, ".") == raw {
				t.Fatal("nothing was forged")
			}
			_, err = n.Verify(strings.Join(parts, "."), site, n.now())
			return err
		}},
		{"more in front", func(n *node, raw string) error { _, err := n.Verify("x"+raw, site, n.now()); return err }},
		{"only the end", func(n *node, raw string) error { _, err := n.Verify(endOf(raw), site, n.now()); return err }},
		{"too long", func(n *node, raw string) error {
			_, err := n.Verify(strings.Repeat("x", token.MaxSize)+raw, site, n.now())
			return err
		}},
		{"longer ago than it may be renewed", func(n *node, raw string) error {
			n.advance(year + token.Lapse)
			_, err := n.Verify(raw, site, n.now())
			return err
		}},
	} {
		for state, remember := range remember {
			t.Run(test.name+"/"+state, func(t *testing.T) {
				n := newNode(t)
				raw := n.sell("1", "phone")
				remember(n, raw)
				if err := test.refuse(n, raw); !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrLapsed) {
					t.Errorf("%v, want %v", err, token.ErrInvalid)
				}
			})
		}
	}
}

func TestATokenThatEndedWithItsAccessIsKnownAsLapsed(t *testing.T) {
	for state, remember := range remember {
		t.Run(state, func(t *testing.T) {
			n := newNode(t)
			raw := n.sell("1", "phone")
			remember(n, raw)
			for _, step := range []struct {
				after time.Duration
				want  error
			}{{year - time.Second, nil}, {time.Second, token.ErrLapsed}, {time.Second, token.ErrLapsed}, {token.Lapse, token.ErrInvalid}} {
				n.advance(step.after)
				known, err := n.Verify(raw, site, n.now())
				if !errors.Is(err, step.want) || step.want == nil && err != nil {
					t.Fatalf("after %v: %v, want %v", step.after, err, step.want)
				}
				if err == nil || errors.Is(err, token.ErrLapsed) {
					if known.Purchase != "1" {
						t.Errorf("the token is %+v", known.Access)
					}
				}
				if errors.Is(err, token.ErrLapsed) {
					n.wantDecision("a lapsed token", known, None)
				}
			}
		})
	}
}

func TestTokensOfUnknownKeysAreRefused(t *testing.T) {
	n, stranger := newNode(t), newNode(t)
	if _, err := n.Verify(stranger.sell("1", "phone"), site, n.now()); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("another installation's token: %v", err)
	}
	if _, err := n.verifyLink(stranger.linkOf("1", year), site); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("another installation's private address: %v", err)
	}
	n.options.Keys = token.NewKeyring(n.now)
	if _, err := n.Verify(n.sell("1", "phone"), site, n.now()); !errors.Is(err, token.ErrNoKeys) {
		t.Errorf("no keys yet: %v", err)
	}
}

func TestATokenIsTheSameWheneverItComesBy(t *testing.T) {
	for _, algorithm := range []string{token.HS256, token.EdDSA} {
		t.Run(algorithm, func(t *testing.T) {
			n := newNode(t)
			if err := n.keyring.Ensure(t.Context(), n.store, algorithm); err != nil {
				t.Fatal(err)
			}
			n.advance(time.Hour)
			n.mustPoll()
			raw := n.sign(token.Access{Site: site, Pass: "p", Resource: "*", Purchase: "1", Device: "phone"}, algorithm)
			first := n.verify(raw)
			for i := range 5 {
				if n.verify(strings.Clone(raw)) != first {
					t.Errorf("another one, time %d", i)
				}
			}
			if _, err := n.keyring.Rotate(t.Context(), n.store, algorithm); err != nil {
				t.Fatal(err)
			}
			if n.verify(raw) != first {
				t.Error("another one after a rotation of the keys")
			}
			if got := n.Size(); got != 1 {
				t.Errorf("%d tokens are remembered", got)
			}
		})
	}
}

func TestPrivateAddresses(t *testing.T) {
	n := newNode(t)
	n.sell("1", "phone")
	raw := n.linkOf("1", time.Hour)
	known, err := n.verifyLink(raw, site)
	if err != nil {
		t.Fatal(err)
	}
	if known.Link != site+"/feed" || known.Purchase != "1" {
		t.Errorf("the token is %+v, for %q", known.Access, known.Link)
	}
	if again, err := n.verifyLink(raw, site); err != nil || again != known {
		t.Errorf("again: %v, the same token: %v", err, again == known)
	}
	if _, err := n.Verify(raw, site, n.now()); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("as an access token: %v", err)
	}
	if _, err := n.verifyLink(strings.Repeat("x", token.MaxSize+1), site); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("too long: %v", err)
	}
	n.advance(time.Hour)
	if _, err := n.verifyLink(raw, site); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := n.Verify(n.linkOf("1", year), site, n.now()); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("as an access token, not remembered: %v", err)
	}
}

// The token of a private address does not say its site in the clear: verify is asked at each site. Who brings
// it to another site first must not take it away from the right one.
func TestAPrivateAddressWorksAtItsSiteAfterItCameByAtAnother(t *testing.T) {
	n := newNode(t)
	n.sell("1", "phone")
	raw := n.linkOf("1", year)
	for range 3 {
		for _, site := range []string{"https://www.example.com", site} {
			known, err := n.verifyLink(raw, site)
			if err != nil {
				t.Fatal(err)
			}
			if known.Site != site {
				t.Errorf("at %s it is of %s", site, known.Site)
			}
		}
	}
}
