package paywall

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/internal/urlpath"
	"github.com/caddy-axra/paywall/money"
	"github.com/caddy-axra/paywall/terms"
)

// Offer is what a pass sells, and for what.
type Offer struct {
	// Price is what the pass costs. Placeholders in it are replaced for each
	// request, so that a `map` can price files; a price that is missing or wrong
	// then is a logged error 500, never free and never a wrong charge.
	Price Price `json:"price,omitzero"`

	// Description says what is sold, on the offer page and on the checkout page.
	// Placeholders are replaced for each request.
	Description string `json:"description,omitempty"`

	// Access is how long access lasts from the payment: a duration such as `12h` or
	// `30d`, or `forever`, which is the default.
	Access string `json:"access,omitempty"`

	// PerPath sells each path by itself: a payment opens the one address that it was
	// made for. Without it a payment opens everything behind the gates of the pass.
	PerPath bool `json:"per_path,omitempty"`

	// Key names, with placeholders, what is sold by PerPath, where that is something
	// else than the path: a payment opens all addresses with the same key. Without a
	// value for a request the answer is a logged error 500.
	Key string `json:"key,omitempty"`

	// Downloads is how many downloads one purchase allows, 1 to 1000; it goes with
	// PerPath. A download is a window of time, by default 24h, from the first byte of
	// content: within it the file may be fetched, resumed and fetched again. What was
	// sold with another number keeps it.
	Downloads int `json:"downloads,omitempty"`

	// Devices is on how many devices one purchase may be used, the one that paid
	// included, 1 to 1000: the receipt has a link for the others. The default is 3. What
	// was sold with another number keeps it.
	Devices int `json:"devices,omitempty"`

	// Retired takes the pass off sale. Who has bought it keeps access.
	Retired bool `json:"retired,omitempty"`
}

// Price is an amount of money.
type Price struct {
	// Amount is a decimal number of major units, such as `5.00`, at least 0.50, or a
	// placeholder.
	Amount string `json:"amount"`

	// Currency is the ISO 4217 code, in any case, or a placeholder.
	Currency string `json:"currency"`
}

// sale is an Offer as gates use it.
type sale struct {
	Offer
	pass   string
	price  money.Price // where isPriced is false
	access terms.Access
}

// errNoKey is an error at request time: the placeholder of a key is empty.
var errNoKey = errors.New("the key of what is sold is empty")

// newSale checks an offer; the errors name the fix.
func newSale(pass string, offer Offer) (*sale, error) {
	s := &sale{Offer: offer, pass: pass}
	var err error
	unpriced := s.Retired && s.Price == (Price{})
	if !unpriced && !s.pricedByRequest() {
		if s.price, err = parsePrice(s.Price); err != nil {
			return nil, err
		}
	}
	if s.access, err = parseAccess(s.Access); err != nil {
		return nil, err
	}
	if s.Key != "" && !s.PerPath {
		return nil, errors.New("key is of use with per_path only: write `per_path` too, or remove key")
	}
	if s.Key != "" && !strings.Contains(s.Key, "{") {
		return nil, fmt.Errorf("per_path %s: the key must hold a placeholder, or all paths would be sold as one: write for example `per_path {sku}`", s.Key)
	}
	if s.Downloads < 0 || s.Downloads > maxDownloads {
		return nil, fmt.Errorf("downloads takes a number from 1 to %d: write `downloads 5`", maxDownloads)
	}
	if s.Downloads > 0 && !s.PerPath {
		return nil, errors.New("downloads counts the fetches of one path: write `per_path` too, or remove downloads")
	}
	if s.Devices == 0 {
		s.Devices = DefaultDevices
	}
	if s.Devices < 1 || s.Devices > maxDevices {
		return nil, fmt.Errorf("devices takes a number from 1 to %d: write `devices 3`", maxDevices)
	}
	return s, checkPassName(pass)
}

const maxDownloads = 1000

// dependsOnPath reports whether what is sold, or for how much, is looked up for each path.
func (s *sale) dependsOnPath() bool {
	byQuery := strings.HasPrefix(s.Key, "{http.request.uri.query") && strings.Count(s.Key, "{") == 1
	return s.PerPath && (s.Key != "" && !byQuery || s.pricedByRequest())
}

func (s *sale) pricedByRequest() bool {
	return strings.Contains(s.Price.Amount+s.Price.Currency, "{")
}

// priceFor is the price for a request.
func (s *sale) priceFor(r *http.Request) (money.Price, error) {
	if !s.pricedByRequest() {
		return s.price, nil
	}
	amount, currency := replaced(r, s.Price.Amount), replaced(r, s.Price.Currency)
	price, err := money.Parse(strings.TrimSpace(amount), strings.TrimSpace(currency))
	if err != nil {
		return price, fmt.Errorf("pass %q: price %s %s: %w", s.pass, s.Price.Amount, s.Price.Currency, err)
	}
	return price, nil
}

// resource is what a purchase by this request opens.
func (s *sale) resource(r *http.Request) (string, error) {
	switch {
	case !s.PerPath:
		return terms.WholePass, nil
	case s.Key == "":
		return pathResource(r), nil
	}
	key := s.keyFor(r)
	if key == "" {
		return "", fmt.Errorf("pass %q: per_path %s: %w", s.pass, s.Key, errNoKey)
	}
	return keyResource(key), nil
}

// keyFor is the key of a request. One from a table is that of the canonical path; parts of the path itself, as
// in {dir}, are taken as they are.
func (s *sale) keyFor(r *http.Request) (key string) {
	path := r.URL.Path
	if !isRewritten(r) && !strings.Contains(s.Key, "{http.request.uri.path") {
		path = urlpath.Canonical(path)
	}
	atPath(r, path, func() { key = strings.TrimSpace(replaced(r, s.Key)) })
	return key
}

// pricierPath is another spelling of a folder's path under which the pass costs more, or costs anything at all;
// "" if there is none. Tables have either spelling, and a visitor must not choose the cheaper one.
func (s *sale) pricierPath(r *http.Request) string {
	if !s.dependsOnPath() || !s.pricedByRequest() || isRewritten(r) {
		return ""
	}
	price, err := s.priceFor(r)
	pricier := ""
	page := urlpath.Page(r.URL.Path)
	for _, path := range []string{page, strings.TrimSuffix(page, "/") + "/"} {
		atPath(r, path, func() {
			other, otherErr := s.priceFor(r)
			if otherErr == nil && (err != nil || other.Currency != price.Currency && other.Currency < price.Currency || other.Currency == price.Currency && other.Amount.Compare(price.Amount) > 0) {
				price, err, pricier = other, nil, path
			}
		})
	}
	return pricier
}

// opens reports whether a purchase of the resource opens what the request asks
// for. What was bought as a whole stays whole, and what was bought by path stays
// that path's, whatever the pass sells today.
func (s *sale) opens(resource string, r *http.Request) bool {
	if resource == terms.WholePass {
		return true
	}
	if resource == pathResource(r) {
		return true
	}
	own, err := s.resource(r)
	return err == nil && resource == own
}

func (s *sale) same(other *sale) bool {
	if s.pricedByRequest() && s.Price != other.Price {
		return false
	}
	return s.price.Equal(other.price) && s.access == other.access && s.PerPath == other.PerPath && s.Key == other.Key &&
		s.Downloads == other.Downloads && s.Devices == other.Devices
}

// replaced replaces what is known for the request; the rest becomes empty.
func replaced(r *http.Request, text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return text
	}
	return replacer.ReplaceAll(text, "")
}

// errNoPrice: a gate without a price is an oversight, never a free route.
var errNoPrice = errors.New("has no price: add `price 5.00 usd`")

// errOfPass: options of an offer beside passes that have theirs.
var errOfPass = errors.New("description, access, per_path, downloads and devices belong to what has a price: " +
	"write them into the pass in the global option axra, or add a `price` to sell something of this gate's own")

func parsePrice(p Price) (money.Price, error) {
	if p.Amount == "" && p.Currency == "" {
		return money.Price{}, errNoPrice
	}
	price, err := money.Parse(p.Amount, p.Currency)
	if err != nil {
		return price, fmt.Errorf("price: %w: write for example `price 5.00 usd` or `price 500 jpy`", err)
	}
	return price, nil
}

func parseAccess(value string) (terms.Access, error) {
	if value == "" {
		return terms.Forever, nil
	}
	return admin.ParseAccess(value)
}

func checkPassName(name string) error {
	if len(name) > 128 || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
		return fmt.Errorf("pass %q: a name has at most 128 bytes, no control characters and no space around it", name)
	}
	return nil
}
