package gate

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/terms"
)

func TestAProductThatCannotBeSoldAsConfiguredIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		config ProductConfig
		want   string // of the error; empty: none
	}{
		{"p", ProductConfig{Price: fiveDollars}, ""},
		{"p", ProductConfig{Price: Price{Amount: "{price}", Currency: "usd"}, PerPath: true, Downloads: 1000, Devices: 1000}, ""},
		{"p", ProductConfig{Retired: true}, ""},
		{"p", ProductConfig{Price: fiveDollars, PerPath: true, Key: "{sku}", Access: "forever"}, ""},
		{"p", ProductConfig{}, "has no price"},
		{"p", ProductConfig{Price: Price{Amount: "0.49", Currency: "usd"}}, "write for example `price 5.00 usd`"},
		{"p", ProductConfig{Price: Price{Amount: "5.00", Currency: "xxx"}}, "price:"},
		{"p", ProductConfig{Price: Price{Amount: "0", Currency: "usd"}, Retired: true}, "price:"},
		{"p", ProductConfig{Price: fiveDollars, Access: "soon"}, "write 12h, 30d or forever"},
		{"p", ProductConfig{Price: fiveDollars, Access: "500ms"}, "write 12h, 30d or forever"},
		{"p", ProductConfig{Price: fiveDollars, Key: "{sku}"}, "per_path"},
		{"p", ProductConfig{Price: fiveDollars, PerPath: true, Key: "sku"}, "placeholder"},
		{"p", ProductConfig{Price: fiveDollars, Downloads: 1}, "per_path"},
		{"p", ProductConfig{Price: fiveDollars, PerPath: true, Downloads: 1001}, "downloads 5"},
		{"p", ProductConfig{Price: fiveDollars, PerPath: true, Downloads: -1}, "downloads 5"},
		{"p", ProductConfig{Price: fiveDollars, Devices: 1001}, "devices 3"},
		{"p", ProductConfig{Price: fiveDollars, Devices: -1}, "devices 3"},
		{" p", ProductConfig{Price: fiveDollars}, "no space"},
		{"p\x01", ProductConfig{Price: fiveDollars}, "control"},
		{strings.Repeat("p", 129), ProductConfig{Price: fiveDollars}, "128 bytes"},
	} {
		_, err := NewProduct(test.name, test.config)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q %+v: %v, want %q", test.name, test.config, err, test.want)
		}
	}
	if p := product(t, "p", ProductConfig{Price: fiveDollars, Access: "30d"}); p.Config.Devices != DefaultDevices || time.Duration(p.Access) != 720*time.Hour {
		t.Errorf("%d devices for %v", p.Config.Devices, p.Access)
	}
}

func TestAQuoteIsThePriceOfTheRequestOrAnError(t *testing.T) {
	t.Parallel()
	prices := map[string]string{"/a": "3.00", "/space": " 4.50 ", "/free": "0", "/text": "five", "/placeholder": "{nothing}"}
	fixed := ProductConfig{Price: fiveDollars, Description: "Read {http.request.uri.path}"}
	byTable := ProductConfig{Price: Price{Amount: "{price}", Currency: "eur"}, PerPath: true}
	byQuery := ProductConfig{Price: Price{Amount: "5.00", Currency: "{http.request.uri.query.currency}"}}
	byKey := ProductConfig{Price: fiveDollars, PerPath: true, Key: "{http.request.uri.query.sku}"}
	for _, test := range []struct {
		name   string
		config ProductConfig
		target string
		want   string // price, resource and description; or the error, after "!"
	}{
		{"fixed", fixed, "/a", "5.00 USD|*|Read /a"},
		{"from a table", byTable, "/a", "3.00 EUR|/a|"},
		{"with spaces", byTable, "/space", "4.50 EUR|/space|"},
		{"of nothing", byTable, "/free", "!price {price} eur"},
		{"in words", byTable, "/text", "!price {price} eur"},
		{"not in the table", byTable, "/unpriced", "!price {price} eur"},
		{"of an unknown placeholder", byTable, "/placeholder", "!price {price} eur"},
		{"in a currency of the request", byQuery, "/a?currency=gbp", "5.00 GBP|*|"},
		{"in no currency", byQuery, "/a", "!price 5.00"},
		{"of a key", byKey, "/a?sku=1", "5.00 USD|key:1|"},
		{"of no key", byKey, "/a?sku=%20", "!the key is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := mapPath(request(t, test.target), "price", prices)
			g := gateOf(t, nil, "", product(t, "p", test.config))
			quotes, err := g.Quotes(r)
			if want, fails := strings.CutPrefix(test.want, "!"); fails {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `pass "p"`) {
					t.Errorf("%v and %v, want an error with %q", quotes, err, want)
				}
				return
			}
			if err != nil || len(quotes) != 1 {
				t.Fatal(quotes, err)
			}
			if got := quotes[0].Price.String() + "|" + quotes[0].Resource + "|" + quotes[0].Description; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatIsRetiredIsNotQuoted(t *testing.T) {
	t.Parallel()
	byTable := ProductConfig{Price: Price{Amount: "{price}", Currency: "usd"}}
	retired := byTable
	retired.Retired = true
	g := gateOf(t, nil, "", product(t, "day", ProductConfig{Price: fiveDollars}), product(t, "old", retired))
	if quotes, err := g.Quotes(request(t, "/a")); err != nil || len(quotes) != 1 || quotes[0].Product.Name != "day" {
		t.Errorf("%v %v", quotes, err)
	}
	if g.Product("old") == nil || g.Product("month") != nil {
		t.Error("another product is found")
	}
	g = gateOf(t, nil, "", product(t, "day", ProductConfig{Price: fiveDollars}), product(t, "dear", byTable))
	if quotes, err := g.Quotes(request(t, "/a")); err == nil {
		t.Errorf("one price is missing, and %v is sold", quotes)
	}
}

func TestTheResourceThatAPurchaseOpens(t *testing.T) {
	t.Parallel()
	perPath := func(key string) ProductConfig { return ProductConfig{Price: fiveDollars, PerPath: true, Key: key} }
	long := "/" + strings.Repeat("a", maxResource)
	for _, test := range []struct {
		name              string
		config            ProductConfig
		target, rewritten string
		want              string
	}{
		{"a whole pass", ProductConfig{Price: fiveDollars}, "/a", "", terms.AllPaths},
		{"a path", perPath(""), "/a/b.html", "", "/a/b.html"},
		{"FB2 a folder", perPath(""), "/a/", "", "/a"},
		{"FB2 an index page", perPath(""), "/a//index.html", "", "/a"},
		{"FB4 escapes", perPath(""), "/na%c3%afve%7e", "", "/naïve~"},
		{"a long path", perPath(""), long, "", ResourceOfPath(long)},
		{"behind handle_path", perPath(""), "/shop/a", "/a", "/shop/a"},
		{"behind try_files", perPath(""), "/a", "/index.php", "/a /index.php"},
		{"a key of the query", perPath("{http.request.uri.query.sku}"), "/a?sku=%20x%20", "", "key:x"},
		{"a long key", perPath("{http.request.uri.query.sku}"), "/a?sku=" + long, "", KeyResource(long)},
		{"a key from a table", perPath("{sku}"), "/a/b.txt", "", "key:b"},
		{"FB2 a key by another spelling", perPath("{sku}"), "/a//b.txt/index.html", "", "key:b"},
		{"FB2 a key of a rewritten path", perPath("{sku}"), "/b", "/a/b.txt/", "key:rewritten"},
		{"FB2 a key that is a part of the path", perPath("{http.request.uri.path.dir}"), "/a/b/", "", "key:/a/b/"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := mapPath(rewrite(request(t, test.target), test.rewritten), "sku", map[string]string{"/a/b.txt": "b", "/a/b.txt/": "rewritten"})
			got, err := product(t, "p", test.config).Resource(r)
			if err != nil || got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
			if len(got) > 80 && !strings.Contains(got, "sha256:") {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
}

// What was sold is honoured: a purchase opens what it was made for, whatever the product sells today.
func TestT4APurchaseOpensWhatItWasMadeFor(t *testing.T) {
	t.Parallel()
	whole := ProductConfig{Price: fiveDollars}
	perPath := ProductConfig{Price: fiveDollars, PerPath: true}
	keyed := ProductConfig{Price: fiveDollars, PerPath: true, Key: "{http.request.uri.query.sku}"}
	for _, test := range []struct {
		resource string
		config   ProductConfig
		target   string
		want     bool
	}{
		{terms.AllPaths, whole, "/a", true},
		{terms.AllPaths, perPath, "/a", true},
		{terms.AllPaths, keyed, "/a", true},
		{"/a", perPath, "/a", true},
		{"/a", perPath, "/a/", true},
		{"/a", whole, "/a", true},
		{"/a", whole, "/b", false},
		{"/a", perPath, "/b", false},
		{"/a", perPath, "/a/b", false},
		{"/a", keyed, "/a?sku=1", true},
		{"/a", keyed, "/b?sku=1", false},
		{"key:1", keyed, "/b?sku=1", true},
		{"key:1", keyed, "/b?sku=2", false},
		{"key:1", keyed, "/b", false},
		{"key:1", perPath, "/b?sku=1", false},
		{"key:1", whole, "/b?sku=1", false},
		{"", keyed, "/b", false},
	} {
		if got := product(t, "p", test.config).Opens(test.resource, request(t, test.target)); got != test.want {
			t.Errorf("%q at %s of %+v: %t", test.resource, test.target, test.config, got)
		}
	}
}

func TestProductsThatSellTheSame(t *testing.T) {
	t.Parallel()
	base := ProductConfig{Price: fiveDollars, Access: "30d", PerPath: true, Key: "{sku}", Downloads: 3}
	for name, change := range map[string]func(*ProductConfig){
		"price": func(c *ProductConfig) { c.Price.Amount = "6.00" }, "currency": func(c *ProductConfig) { c.Price.Currency = "eur" },
		"placeholder": func(c *ProductConfig) { c.Price.Amount = "{price}" }, "access": func(c *ProductConfig) { c.Access = "31d" },
		"key": func(c *ProductConfig) { c.Key = "{id}" }, "downloads": func(c *ProductConfig) { c.Downloads = 4 },
		"devices": func(c *ProductConfig) { c.Devices = 4 }, "path": func(c *ProductConfig) { c.PerPath, c.Key, c.Downloads = false, "", 0 },
	} {
		other := base
		change(&other)
		if product(t, "p", base).Same(product(t, "p", other)) || product(t, "p", other).Same(product(t, "p", base)) {
			t.Errorf("another %s is the same", name)
		}
	}
	other := base
	other.Price.Amount, other.Price.Currency, other.Access, other.Devices = "5.0", "USD", "720h", 3
	if !product(t, "p", base).Same(product(t, "q", other)) {
		t.Error("the same in other words is not")
	}
}

// prices list some folders in one spelling, some in the other, and one in both.
var prices = map[string]string{
	"/": "25.00", "/dear.txt": "25.00", "/folder": "25.00", "/slashed/": "25.00", "/both": "2.00", "/both/": "3.00", "/broken/": "25.00", "/broken": "x",
	"/worthless": "x", "/worthless/": "x", "/currency": "usd", "/currency/": "eur", "default": "1.00",
}

func TestFB2FB4TheCanonicalAddressOfAPath(t *testing.T) {
	t.Parallel()
	byTable := product(t, "p", ProductConfig{Price: Price{Amount: "{price}", Currency: "usd"}, PerPath: true})
	fixed := product(t, "p", ProductConfig{Price: fiveDollars, PerPath: true})
	byKey := product(t, "p", ProductConfig{Price: fiveDollars, PerPath: true, Key: "{sku}"})
	whole := product(t, "p", ProductConfig{Price: fiveDollars})
	for _, test := range []struct {
		name    string
		product *Product
		target  string
		want    string // empty: the address is canonical
	}{
		{"a file", byTable, "/dear.txt", ""},
		{"a file with a slash", byTable, "/dear.txt/?x=1", "/dear.txt?x=1"},
		{"a file with an index page", byTable, "/dear.txt/INDEX.HTML", "/dear.txt"},
		{"slashes", byTable, "//dear.txt", "/dear.txt"},
		{"steps", byTable, "/x/../dear.txt", "/dear.txt"},
		{"a folder", byTable, "/folder/", ""},
		{"the root", byTable, "/", ""},
		{"the root's index page", byTable, "/index.html", "/"},
		{"one price", fixed, "/folder/", ""},
		{"one price, slashes", fixed, "//folder//", "/folder/"},
		{"a key", byKey, "/dear.txt/", "/dear.txt"},
		{"a pass", whole, "//dear.txt/", ""},
		{"FB4 escapes as browsers write them", fixed, "/na%C3%AFve(1)!'~%20|.html", ""},
		{"FB4 lower-case escapes", fixed, "/na%c3%afve.html?x=%c3", "/na%C3%AFve.html?x=%c3"},
		{"FB4 what needs no escape", fixed, "/%7Eme/%61", "/~me/a"},
		{"FB4 what browsers do not escape", fixed, "/a%28b%29", "/a(b)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if address := gateOf(t, nil, "", test.product).CanonicalAddress(request(t, test.target)); address != nil {
				got = address.String()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFB2AFolderCostsWhatItsDearestSpellingCosts(t *testing.T) {
	t.Parallel()
	perPath := product(t, "p", ProductConfig{Price: Price{Amount: "{price}", Currency: "usd"}, PerPath: true})
	whole := product(t, "p", ProductConfig{Price: Price{Amount: "{price}", Currency: "usd"}})
	byCurrency := product(t, "p", ProductConfig{Price: Price{Amount: "5.00", Currency: "{price}"}, PerPath: true})
	for _, test := range []struct {
		product           *Product
		target, rewritten string
		want              string // empty: an error
	}{
		{perPath, "/folder", "", "25.00 USD"},
		{perPath, "/folder/?q=1", "", "25.00 USD"},
		{perPath, "/folder/index.html", "", "25.00 USD"},
		{perPath, "/slashed", "", "25.00 USD"},
		{perPath, "/slashed/", "", "25.00 USD"},
		{perPath, "/both", "", "3.00 USD"},
		{perPath, "/both/", "", "3.00 USD"},
		{perPath, "/broken", "", "25.00 USD"},
		{perPath, "/broken/", "", "25.00 USD"},
		{perPath, "/worthless", "", ""},
		{perPath, "/other/", "", "1.00 USD"},
		{perPath, "/", "", "25.00 USD"},
		{perPath, "/shop/folder/", "/folder/", "25.00 USD"},
		{perPath, "/pretty/", "/folder/", "1.00 USD"},
		{whole, "/both", "", "2.00 USD"},
		{byCurrency, "/currency", "", "5.00 EUR"},
		{byCurrency, "/currency/", "", "5.00 EUR"},
	} {
		r := mapPath(rewrite(request(t, test.target), test.rewritten), "price", prices)
		here := r.URL.Path
		quote, err := test.product.Quote(r)
		if got := quote.Price.String(); (err != nil) != (test.want == "") || err == nil && got != test.want {
			t.Errorf("%s costs %q (%v), want %q", test.target, got, err, test.want)
		}
		if r.URL.Path != here {
			t.Errorf("%s became %s", here, r.URL.Path)
		}
	}
}

// Only a plain address is sold by itself.
func TestFB2WhatAddressCanBeSold(t *testing.T) {
	t.Parallel()
	fixed := ProductConfig{Price: fiveDollars, PerPath: true}
	byTable := ProductConfig{Price: Price{Amount: "{price}", Currency: "usd"}, PerPath: true}
	byKey := ProductConfig{Price: fiveDollars, PerPath: true, Key: "{http.request.uri.query.sku}"}
	const ambiguous, script, respelled = "ambiguous", "behind a script", "respelled"
	for _, test := range []struct {
		name              string
		config            ProductConfig
		matchers          string
		target, rewritten string
		want              []string
	}{
		{"a pass", ProductConfig{Price: fiveDollars}, "path /paid/*", "/index.php/paid;x/a", "", nil},
		{"a file", fixed, "path /paid/*", "/paid/a", "", nil},
		{"slashes", byTable, "path /paid/*", "/paid//a", "", []string{respelled}},
		{"slashes at one price", fixed, "path /paid/*", "/paid//a", "", nil},
		{"path parameters", fixed, "path /paid/*", "/paid/a;x", "", []string{ambiguous}},
		{"obfuscated, but one page", fixed, "path /paid/*", "/paid/a%20", "", []string{ambiguous}},
		{"without a path", fixed, "path /paid/*", "http:paid/a", "", []string{ambiguous}},
		{"another path in a header", fixed, "path /paid/*", "/paid/a X-Original-Url: /paid/b", "", []string{ambiguous}},
		{"a path in the query", fixed, "path /paid/*", "/paid/a?/paid/b", "", []string{ambiguous}},
		{"only in the query", fixed, "path /paid/*", "/?/paid/b", "", []string{ambiguous, script}},
		{"a query that is malformed", byKey, "path /paid/*", "/paid/a?sku=1&x=1;sku=2", "", []string{ambiguous}},
		{"the same without keys", fixed, "path /paid/*", "/paid/a?sku=1&x=1;sku=2", "", nil},
		{"respelled by a rewrite", byTable, "path /paid/*", "/dl", "/paid//a", []string{ambiguous}},
		{"rewritten", byTable, "path /paid/*", "/dl", "/paid/a", nil},
		{"behind a script", fixed, "path /paid/*", "/index.php/paid/a", "", []string{script}},
		{"behind a script that is gated itself", fixed, "path /index.php/*", "/index.php/paid/a", "", nil},
		{"the same at other prices", byTable, "path /index.php/*", "/index.php/paid/a", "", []string{script}},
		{"behind a script of a gate for all", fixed, "", "/index.php/paid/a", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			target, header, _ := strings.Cut(test.target, " ")
			lines := []string{"X-None: 0"}
			if header != "" {
				lines = append(lines, header)
			}
			g := gateOf(t, nil, test.matchers, product(t, "p", test.config))
			r := rewrite(request(t, target, lines...), test.rewritten)
			var got []string
			if g.IsAmbiguous(r) {
				got = append(got, ambiguous)
			}
			if g.IsBehindScript(r) {
				got = append(got, script)
			}
			if g.CleanAddress(r) != nil {
				got = append(got, respelled)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("it is %q, want %q", got, test.want)
			}
			if r.Method = http.MethodPost; g.CleanAddress(r) != nil {
				t.Error("a POST is redirected")
			}
		})
	}
}
