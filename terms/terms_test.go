package terms

import (
	"errors"
	"maps"
	"strings"
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
		Resource: AllPaths, Price: price, Access: access,
	}
}

// with returns the terms with something more.
func with(t Terms, change func(*Terms)) Terms {
	change(&t)
	return t
}

var from = time.Date(2025, 7, 1, 12, 0, 0, 0, time.UTC)

func extending(session string) func(*Terms) {
	return func(t *Terms) { t.Extends, t.From = session, from }
}

func TestTermsSurviveTheirJourneyThroughMetadata(t *testing.T) {
	t.Parallel()
	month := Access(30 * 24 * time.Hour)
	for name, terms := range map[string]Terms{
		"a month":            sold(t, "5.00", "usd", month),
		"a second":           sold(t, "0.50", "eur", Access(time.Second)),
		"no expiry":          sold(t, "99.00", "usd", Forever),
		"no decimals":        sold(t, "500", "jpy", month),
		"three decimals":     sold(t, "1.234", "kwd", month),
		"the largest amount": sold(t, "999999999999.99", "ngn", month),
		"the longest access": sold(t, "5.00", "usd", Access((1<<63-1)/time.Second*time.Second)),
		"one path of a pass": {Installation: "i", Site: "https://example.com:8443", Pass: "Über 18 \"x\"", Resource: "/a/é?b=1", Price: sold(t, "5", "usd", month).Price, Access: month},
		"most downloads":     with(sold(t, "5.00", "usd", month), func(t *Terms) { t.Downloads = 1_000_000 }),
		"most devices":       with(sold(t, "5.00", "usd", Forever), func(t *Terms) { t.Devices = 1_000_000 }),
		"everything": with(sold(t, "5.00", "usd", month), func(t *Terms) {
			t.Downloads, t.Devices, t.Claim = 5, 3, true
			extending(strings.Repeat("é", 128))(t)
		}),
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
	t.Parallel()
	good := sold(t, "5.00", "usd", Access(time.Hour)).Metadata()
	with := func(name, value string) map[string]string {
		changed := maps.Clone(good)
		changed[name] = value
		return changed
	}
	extends := func(session, from string) map[string]string {
		changed := with("paywall_extends", session)
		changed["paywall_from"] = from
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

		{"negative downloads", with("paywall_downloads", "-1"), ErrMalformed},
		{"empty downloads", with("paywall_downloads", ""), ErrMalformed},
		{"downloads in words", with("paywall_downloads", "five"), ErrMalformed},
		{"half a download", with("paywall_downloads", "0.5"), ErrMalformed},
		{"too many downloads", with("paywall_downloads", "1000001"), ErrMalformed},
		{"downloads beyond 64 bits", with("paywall_downloads", "99999999999999999999"), ErrMalformed},
		{"negative devices", with("paywall_devices", "-1"), ErrMalformed},
		{"empty devices", with("paywall_devices", ""), ErrMalformed},
		{"devices in words", with("paywall_devices", "two"), ErrMalformed},
		{"too many devices", with("paywall_devices", "1000001"), ErrMalformed},

		{"an extension without its time", with("paywall_extends", "cs_0"), ErrMalformed},
		{"an extension with an empty time", extends("cs_0", ""), ErrMalformed},
		{"the time of an extension alone", with("paywall_from", "2025-07-01T12:00:00Z"), ErrMalformed},
		{"the time of an extension of nothing", extends("", "2025-07-01T12:00:00Z"), ErrMalformed},
		{"an extension at no time", extends("cs_0", "0001-01-01T00:00:00Z"), ErrMalformed},
		{"an extension at an unreadable time", extends("cs_0", "tomorrow"), ErrMalformed},
		{"an extension at a Unix time", extends("cs_0", "1751371200"), ErrMalformed},
		{"an extension without a zone", extends("cs_0", "2025-07-01T12:00:00"), ErrMalformed},
		{"an extension on a day that does not exist", extends("cs_0", "2025-02-30T12:00:00Z"), ErrMalformed},
		{"an extension of a session that is too long", extends(strings.Repeat("x", 257), "2025-07-01T12:00:00Z"), ErrMalformed},
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

func TestMetadataNamesOnlyWhatWasSold(t *testing.T) {
	t.Parallel()
	plain := sold(t, "5.00", "usd", Forever)
	for _, test := range []struct {
		name  string
		terms Terms
		more  map[string]string
	}{
		{"nothing more", plain, nil},
		{"downloads", with(plain, func(t *Terms) { t.Downloads = 5 }), map[string]string{"paywall_downloads": "5"}},
		{"devices", with(plain, func(t *Terms) { t.Devices = 3 }), map[string]string{"paywall_devices": "3"}},
		{"a claim", with(plain, func(t *Terms) { t.Claim = true }), map[string]string{"paywall_claim": "first"}},
		{"an extension", with(plain, extending("cs_0")), map[string]string{
			"paywall_extends": "cs_0", "paywall_from": "2025-07-01T12:00:00Z",
		}},
		{"an extension of another zone, with a fraction", with(plain, func(t *Terms) {
			t.Extends, t.From = "cs_0", from.Add(700*time.Millisecond).In(time.FixedZone("", 2*3600))
		}), map[string]string{"paywall_extends": "cs_0", "paywall_from": "2025-07-01T12:00:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := map[string]string{
				"paywall_v": "1", "paywall_installation": "0123456789abcdef", "paywall_site": "https://example.com",
				"paywall_pass": "premium", "paywall_resource": "*", "paywall_amount": "5.00", "paywall_currency": "usd",
				"paywall_access": "forever",
			}
			maps.Copy(want, test.more)
			if got := test.terms.Metadata(); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// A payment whose metadata is refused opens nothing, so only what would change
// what was sold is refused.
func TestWhatChangesNothingThatWasSoldIsRead(t *testing.T) {
	t.Parallel()
	plain := sold(t, "5.00", "usd", Access(time.Hour))
	for _, test := range []struct {
		name string
		more map[string]string
		want Terms
	}{
		{"zeros", map[string]string{"paywall_downloads": "0", "paywall_devices": "0"}, plain},
		{"needless digits", map[string]string{"paywall_downloads": "005"}, with(plain, func(t *Terms) { t.Downloads = 5 })},
		{"an extension of nothing", map[string]string{"paywall_extends": "", "paywall_from": ""}, plain},
		{"an empty extension", map[string]string{"paywall_extends": ""}, plain},
		{"an empty time", map[string]string{"paywall_from": ""}, plain},
		{"another zone", map[string]string{"paywall_extends": "cs_0", "paywall_from": "2025-07-01T14:00:00+02:00"}, with(plain, extending("cs_0"))},
		{"fractions", map[string]string{"paywall_extends": "cs_0", "paywall_from": "2025-07-01T12:00:00.7Z"}, with(plain, extending("cs_0"))},
		{"a key of the future", map[string]string{"paywall_gift": "yes"}, plain},
		{"the keys of others", map[string]string{"sessionId": "cs_1", "PAYWALL_PASS": "everything"}, plain},
	} {
		t.Run(test.name, func(t *testing.T) {
			metadata := plain.Metadata()
			maps.Copy(metadata, test.more)
			got, err := FromMetadata(metadata)
			got.Price = test.want.Price
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
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
		if got := test.access.Length(); test.access != Forever && !start.Add(got).Equal(test.until) || test.access == Forever && got >= 0 {
			t.Errorf("%s lasts %s", test.text, got)
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
	t.Parallel()
	for _, access := range []Access{Access(time.Second - 1), Access(1), 0, -2} {
		if got, err := ParseAccess(access.String()); err == nil {
			t.Errorf("%d nanoseconds came back as %s", access, got)
		}
	}
}
