package option_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-axra/paywall/internal/option"
)

// block is the target of every kind of option.
type block struct {
	name, kind, key, address string
	wait                     caddy.Duration
	count                    int
	on                       bool
	pair                     string
}

func (b *block) read(body string) error {
	d := caddyfile.NewTestDispenser("shop {\n" + body + "\n}")
	d.Next()
	notLong := func(length caddy.Duration) error {
		if length > caddy.Duration(time.Hour) {
			return errors.New("too long")
		}
		return nil
	}
	return option.ReadBlock(d, "shop", ", see the manual", []option.Option{
		option.Text("name", &b.name, func(name string) error {
			if name == "bad" {
				return errors.New("name bad is taken")
			}
			return nil
		}),
		option.OneOf("kind", &b.kind, "a", "b"),
		option.Secret("key", &b.key),
		option.Address("address", &b.address, false),
		option.Duration("wait", &b.wait, notLong),
		option.Number("count", &b.count, "5"),
		option.Flag("on", &b.on),
		option.ArgsN("pair", 2, "pair takes two values", func(args []string) error {
			b.pair = strings.Join(args, "+")
			return nil
		}),
	})
}

func TestOptionsAreRead(t *testing.T) {
	t.Parallel()
	var got block
	want := block{"two words", "b", "{env.KEY}", "https://example.com", caddy.Duration(time.Minute), 3, true, "x+y"}
	if err := got.read("name \"two words\"\nkind b\nkey {env.KEY}\naddress https://example.com\nwait 1m\ncount 3\non\npair x y"); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := new(block).read("address {env.SITE}"); err != nil {
		t.Errorf("a placeholder: %v", err)
	}
}

func TestErrorsNameTheLineAndTheFix(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"nam x":                    `shop has no option "nam": it takes name, kind, key, address, wait, count, on, pair, see the manual`,
		"name":                     "name takes exactly one value: put text with spaces in quotes",
		"name two words":           "name takes exactly one value",
		"name a\nname b":           "name is given twice: keep one",
		"name bad":                 "name bad is taken",
		"kind c":                   "kind c is unknown: write a or b",
		"key":                      "key is empty: write `key {env.NAME}`",
		"key PLANTED":              "key must be a placeholder",
		"key {env.A} {env.B}":      "key takes exactly one value",
		"address example.com":      "address: not an absolute address",
		"address https://a:b@c.de": "address: must not hold a user",
		"wait soon":                "wait: \"soon\" is not a length of time: write for example `wait 30s`",
		"wait 0s":                  "is not a length of time",
		"wait 1d":                  "too long",
		"wait 1s\nwait 2s":         "wait is given twice",
		"count 0":                  "count \"0\" is not a number from 1 to 1000: write `count 5`",
		"count 1 2":                "count takes exactly one value",
		"count 1\ncount 1":         "count is given twice",
		"on yes":                   "on takes no value",
		"pair x":                   "pair takes two values",
	} {
		err := new(block).read(body)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "PLANTED") {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
}
