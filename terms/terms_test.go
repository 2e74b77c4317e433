package terms

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/caddy-axra/paywall/money"
)

func sold(t *testing.T, amount, currency string, access Access) Terms {
	t.Helper()
	price, err := money.Parse(amount, currency)
	if err != nil {
		t.Fatal(err)
	}
	return Terms{
		Installation: "0123456789abcdef", Site: "https://example.com", Pass: "premium",
		Resource: WholePass, Price: price, Access: access,
	}
}

func TestTermsSurviveTheirJourneyThroughMetadata(t *testing.T) {
	month := Access(30 * 24 * time.Hour)
	for name, terms := range map[string]Terms{
		"a month":             sold(t, "5.00", "usd", month),
		"a second":            sold(t, "0.50", "eur", Access(time.Second)),
		"for ever":            sold(t, "99.00", "usd", Forever),
		"no decimals":         sold(t, "500", "jpy", month),
		"three decimals":      sold(t, "1.234", "kwd", month),
		"the largest amount":  sold(t, "999999999999.99", "ngn", month),
		"the longest access":  sold(t, "5.00", "usd", Access((1<<63-1)/time.Second*time.Second)),
		"one path of a pass":  {"i", "https://example.com:8443", "Über 18 \"x\"", "/a/é?b=1", sold(t, "5", "usd", month).Price, month},
		"needless zeros":      sold(t, "5.00000000", "usd", month),
		"upper-case currency": sold(t, "5.00", "USD", month),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := FromMetadata(terms.Metadata())
			if err != nil {
				t.Fatal(err)
			}
			if !got.Price.Equal(terms.Price) {
				t.Errorf("price %s, want %s", got.Price, terms.Price)
			}
			got.Price = terms.Price
			if got != terms {
				t.Errorf("got %+v, want %+v", got, terms)
			}
		})
	}
}

func TestW8FromMetadataTellsForeignFromMalformed(t *testing.T) {
	good := sold(t, "5.00", "usd", Access(time.Hour)).Metadata()
	with := func(name, value string) map[string]string {
		changed := maps.Clone(good)
		changed[name] = value
		return changed
	}
	without := func(name string) map[string]string {
		changed := maps.Clone(good)
		delete(changed, name)
		return changed
	}
	for _, test := range []struct {
		name     string
		metadata map[string]string
		want     error
	}{
		{"W8 no metadata", nil, ErrForeign},
		{"W8 empty metadata", map[string]string{}, ErrForeign},
		{"W8 metadata of another program", map[string]string{"orderId": "17", "pass": "premium"}, ErrForeign},
		{"W8 no version", without("paywall_v"), ErrForeign},
		{"empty version", with("paywall_v", ""), ErrForeign},
		{"version of the future", with("paywall_v", "2"), ErrMalformed},
		{"version with a space", with("paywall_v", "1 "), ErrMalformed},

		{"no installation", without("paywall_installation"), ErrMalformed},
		{"no site", without("paywall_site"), ErrMalformed},
		{"no pass", without("paywall_pass"), ErrMalformed},
		{"no resource", without("paywall_resource"), ErrMalformed},
		{"blank installation", with("paywall_installation", " "), ErrMalformed},
		{"blank site", with("paywall_site", "\t"), ErrMalformed},
		{"blank pass", with("paywall_pass", "\n"), ErrMalformed},
		{"blank resource", with("paywall_resource", "\u00a0"), ErrMalformed},

		{"no amount", without("paywall_amount"), ErrMalformed},
		{"negative amount", with("paywall_amount", "-5.00"), ErrMalformed},
		{"zero amount", with("paywall_amount", "0"), ErrMalformed},
		{"amount below the minimum", with("paywall_amount", "0.01"), ErrMalformed},
		{"huge exponent", with("paywall_amount", "1e999999999"), ErrMalformed},
		{"too many decimals", with("paywall_amount", "5.001"), ErrMalformed},
		{"no currency", without("paywall_currency"), ErrMalformed},
		{"no real currency", with("paywall_currency", "zzz"), ErrMalformed},

		{"no access", without("paywall_access"), ErrMalformed},
		{"access of zero", with("paywall_access", "0"), ErrMalformed},
		{"negative access", with("paywall_access", "-1"), ErrMalformed},
		{"access with a unit", with("paywall_access", "30d"), ErrMalformed},
		{"access in another case", with("paywall_access", "Forever"), ErrMalformed},
		{"access with a fraction", with("paywall_access", "1.5"), ErrMalformed},
		{"access beyond what a duration holds", with("paywall_access", "9223372037"), ErrMalformed},
		{"access beyond 64 bits", with("paywall_access", "99999999999999999999"), ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := FromMetadata(test.metadata)
			if !errors.Is(err, test.want) {
				t.Errorf("got the error %v, want %v", err, test.want)
			}
			if got != (Terms{}) {
				t.Errorf("terms %+v beside the error", got)
			}
		})
	}
}

func TestForeignKeysBesideOursAreIgnored(t *testing.T) {
	want := sold(t, "5.00", "usd", Forever)
	metadata := want.Metadata()
	metadata["sessionId"] = "cs_1"
	metadata["customer"] = "17"
	metadata["PAYWALL_PASS"] = "everything"
	got, err := FromMetadata(metadata)
	if err != nil {
		t.Fatal(err)
	}
	if got.Pass != "premium" || !got.Price.Equal(want.Price) {
		t.Errorf("got %+v", got)
	}
}

func TestEveryKeyBearsThePrefix(t *testing.T) {
	for name, value := range sold(t, "5.00", "usd", Forever).Metadata() {
		if len(name) <= len(MetadataPrefix) || name[:len(MetadataPrefix)] != MetadataPrefix {
			t.Errorf("key %q could be one of the site owner's", name)
		}
		if value == "" {
			t.Errorf("%s is empty", name)
		}
	}
}

func TestAccess(t *testing.T) {
	start := time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		access Access
		text   string
		until  time.Time
	}{
		{Forever, "forever", time.Time{}},
		{Access(time.Second), "1", start.Add(time.Second)},
		{Access(24 * time.Hour), "86400", start.AddDate(0, 0, 1)},
		{Access(30 * 24 * time.Hour), "2592000", start.AddDate(0, 0, 30)},
	} {
		if got := test.access.String(); got != test.text {
			t.Errorf("String() = %q, want %q", got, test.text)
		}
		if got := test.access.Until(start); !got.Equal(test.until) || got.IsZero() != test.until.IsZero() {
			t.Errorf("%s until %s, want %s", test.text, got, test.until)
		}
		if got, err := ParseAccess(test.text); err != nil || got != test.access {
			t.Errorf("ParseAccess(%q) = %v, %v", test.text, got, err)
		}
	}
}

func TestAnAccessOfLessThanASecondIsNotTakenForForever(t *testing.T) {
	for _, access := range []Access{Access(time.Second - 1), Access(1), 0, -2} {
		if got, err := ParseAccess(access.String()); err == nil {
			t.Errorf("%d nanoseconds came back as %s", access, got)
		}
	}
}
