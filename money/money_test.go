package money

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
)

func mustParse(t *testing.T, amount, currency string) Price {
	t.Helper()
	price, err := Parse(amount, currency)
	if err != nil {
		t.Fatalf("Parse(%q, %q): %v", amount, currency, err)
	}
	return price
}

func mustParsePaid(t *testing.T, amount, currency string) Price {
	t.Helper()
	price, err := ParsePaid(amount, currency)
	if err != nil {
		t.Fatalf("ParsePaid(%q, %q): %v", amount, currency, err)
	}
	return price
}

func TestParseWritesThePriceInTheCurrencysDigits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		amount, currency string
		digits, text     string
	}{
		{"5", "usd", "5.00", "5.00 USD"},
		{"5.0", "USD", "5.00", "5.00 USD"},
		{"5.00", "uSd", "5.00", "5.00 USD"},
		{"5.00000000", "usd", "5.00", "5.00 USD"},
		{"005.10", "usd", "5.10", "5.10 USD"},
		{"0.50", "usd", "0.50", "0.50 USD"},
		{"999999999999.99", "eur", "999999999999.99", "999999999999.99 EUR"},
		{"500", "jpy", "500", "500 JPY"},
		{"500.00", "jpy", "500", "500 JPY"},
		{"1.234", "kwd", "1.234", "1.234 KWD"},
		{"1.5", "kwd", "1.500", "1.500 KWD"},
		{"20000", "ugx", "20000", "20000 UGX"},
		{"1500.50", "ngn", "1500.50", "1500.50 NGN"},
	} {
		t.Run(test.amount+" "+test.currency, func(t *testing.T) {
			price := mustParse(t, test.amount, test.currency)
			if price.Currency != strings.ToLower(test.currency) {
				t.Errorf("currency %q, want it in lower case", price.Currency)
			}
			if got := price.Digits(); got != test.digits {
				t.Errorf("Digits() = %q, want %q", got, test.digits)
			}
			if got := price.Number(); got != json.Number(test.digits) {
				t.Errorf("Number() = %q, want %q", got, test.digits)
			}
			if got := price.String(); got != test.text {
				t.Errorf("String() = %q, want %q", got, test.text)
			}
			again := mustParse(t, price.Digits(), price.Currency)
			if !again.Equal(price) || again.Digits() != price.Digits() {
				t.Errorf("read back as %s", again)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		amount, currency string
		want             error
	}{
		{"nothing", "", "usd", ErrSyntax},
		{"a word", "five", "usd", ErrSyntax},
		{"a minus", "-5.00", "usd", ErrSyntax},
		{"a plus", "+5.00", "usd", ErrSyntax},
		{"an exponent", "5e2", "usd", ErrSyntax},
		{"a huge exponent", "1e999999999", "usd", ErrSyntax},
		{"a tiny exponent", "1e-999999999", "usd", ErrSyntax},
		{"hexadecimal", "0x10", "usd", ErrSyntax},
		{"infinity", "Inf", "usd", ErrSyntax},
		{"not a number", "NaN", "usd", ErrSyntax},
		{"a decimal comma", "5,00", "usd", ErrSyntax},
		{"thousands", "1,000.00", "usd", ErrSyntax},
		{"underscores", "1_000", "usd", ErrSyntax},
		{"no digit after the point", "5.", "usd", ErrSyntax},
		{"no digit before the point", ".50", "usd", ErrSyntax},
		{"two points", "5.0.0", "usd", ErrSyntax},
		{"leading space", " 5.00", "usd", ErrSyntax},
		{"trailing newline", "5.00\n", "usd", ErrSyntax},
		{"trailing NUL", "5.00\x00", "usd", ErrSyntax},
		{"digits of another script", "٥.٠٠", "usd", ErrSyntax},
		{"thirteen digits", "1000000000000", "usd", ErrSyntax},
		{"a megabyte of digits", strings.Repeat("9", 1<<20), "usd", ErrSyntax},
		{"nine decimals", "5.000000000", "usd", ErrSyntax},

		{"no currency", "5.00", "", ErrCurrency},
		{"an unknown currency", "5.00", "zzz", ErrCurrency},
		{"the name of a currency", "5.00", "dollar", ErrCurrency},
		{"a sign", "5.00", "$", ErrCurrency},
		{"a currency with a space", "5.00", "us ", ErrCurrency},

		{"three decimals of a dollar", "5.001", "usd", ErrDigits},
		{"half a yen", "500.5", "jpy", ErrDigits},
		{"four decimals of a dinar", "1.2345", "kwd", ErrDigits},
		{"half a shilling", "20000.5", "ugx", ErrDigits},

		{"zero", "0", "usd", ErrTooSmall},
		{"below the minimum", "0.49", "usd", ErrTooSmall},
		{"just below the minimum", "0.499", "kwd", ErrTooSmall},
		{"no yen", "0", "jpy", ErrTooSmall},
	} {
		t.Run(test.name, func(t *testing.T) {
			price, err := Parse(test.amount, test.currency)
			if !errors.Is(err, test.want) {
				t.Errorf("Parse gave %s, %v; want the error %v", price, err, test.want)
			}
		})
	}
}

func TestParsePaidAcceptsWhatEventsHold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		amount, currency string
		want             string
	}{
		{"5", "USD", "5.00 USD"},
		{"5.00", "usd", "5.00 USD"},
		{"0", "usd", "0.00 USD"},
		{"0.01", "usd", "0.01 USD"},
		{"5.001", "usd", "5.001 USD"},
		{"5e0", "usd", "5.00 USD"},
		{"2.5E+1", "usd", "25.00 USD"},
		{"500e-2", "usd", "5.00 USD"},
		{"5.00000001", "usd", "5.00000001 USD"},
		{"12", "points", "12.00 POINTS"},
		{"12", "", "12.00 "},
	} {
		if got := mustParsePaid(t, test.amount, test.currency).String(); got != test.want {
			t.Errorf("ParsePaid(%q, %q) = %q, want %q", test.amount, test.currency, got, test.want)
		}
	}
}

func TestParsePaidRefuses(t *testing.T) {
	t.Parallel()
	for _, amount := range []string{
		"", "-5.00", "-0", "+5", "five", "NaN", "Infinity", "0x5", "5,00", " 5", "5\n", "5.", ".5",
		"1e10", "1e-10", "1e999999999", "1E+2147483648", strings.Repeat("9", 13), "0." + strings.Repeat("1", 21),
	} {
		if price, err := ParsePaid(amount, "usd"); !errors.Is(err, ErrSyntax) {
			t.Errorf("ParsePaid(%.40q) = %s, %v; want %v", amount, price, err, ErrSyntax)
		}
	}
}

// FC1: what a program with floating-point numbers makes of a price is that price.
func TestFC1ErrorsOfFloatsAreNoOtherAmount(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		asked, currency, paid string
		want                  bool
	}{
		{"19.99", "usd", "19.990000000000002", true},
		{"19.99", "usd", "19.989999999999998", true},
		{"19.99", "usd", "19.9900000000", true},
		{"19.99", "usd", "1.9990000000000002e1", true},
		{"100000.10", "usd", "100000.10000000001", true},
		{"1.001", "kwd", "1.0009999999999999", true},
		{"500", "jpy", "499.99999999999994", true},
		{"19.99", "usd", "19.9899999", false},
		{"500", "jpy", "499.5", false},
	} {
		asked, paid := mustParse(t, test.asked, test.currency), mustParsePaid(t, test.paid, test.currency)
		if got := asked.CoveredBy(paid); got != test.want || test.want && !asked.Equal(paid) {
			t.Errorf("%s covered by %s: %t, want %t", asked, paid, got, test.want)
		}
	}
}

func TestW9CoveredByWantsAtLeastThePriceInExactlyTheCurrency(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		asked, askedIn string
		paid, paidIn   string
		want           bool
	}{
		{"5.00", "usd", "5.00", "usd", true},
		{"5.00", "usd", "5", "USD", true},
		{"5.00", "usd", "5.01", "usd", true},
		{"5.00", "usd", "4.99", "usd", false},
		{"5.00", "usd", "4.99999999", "usd", false},
		{"5.00", "usd", "0", "usd", false},
		{"5.00", "usd", "5.00", "eur", false},
		{"5.00", "usd", "500", "ngn", false},
		{"5.00", "usd", "5.00", "", false},
		{"500", "jpy", "500", "JPY", true},
		{"500", "jpy", "499", "jpy", false},
		{"5.00", "usd", "500", "usd", true},
		{"500.00", "usd", "5e2", "usd", true},
	} {
		asked, paid := mustParse(t, test.asked, test.askedIn), mustParsePaid(t, test.paid, test.paidIn)
		if got := asked.CoveredBy(paid); got != test.want {
			t.Errorf("%s covered by %s: %t, want %t", asked, paid, got, test.want)
		}
		if asked.CoveredBy(Price{}) {
			t.Errorf("%s is covered by a payment that could not be read", asked)
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	price := mustParse(t, "5.00", "usd")
	for _, test := range []struct {
		amount, currency string
		want             bool
	}{
		{"5", "USD", true},
		{"5.00000", "usd", true},
		{"5e0", "usd", true},
		{"5.01", "usd", false},
		{"5.00", "eur", false},
	} {
		if got := price.Equal(mustParsePaid(t, test.amount, test.currency)); got != test.want {
			t.Errorf("equal to %s %s: %t, want %t", test.amount, test.currency, got, test.want)
		}
	}
}

func TestDigitsNeverHidesAPartOfTheAmount(t *testing.T) {
	t.Parallel()
	price := Price{Amount: Amount(decimal.RequireFromString("4.999")), Currency: "usd"}
	if got := price.Digits(); got != "4.999" {
		t.Errorf("Digits() = %q: it rounds an underpayment up to the price", got)
	}
}

// FuzzParsePaid: whatever an event holds, the amount read from it is small
// enough to compare and to print.
func FuzzParsePaid(f *testing.F) {
	for _, amount := range []string{
		"5.00", "0", "2.5E+1", "500e-2", "999999999999.99999999e9", "1e999999999", "-1", "0x1p-2", "1_0", "５",
	} {
		f.Add(amount, "usd")
	}
	f.Add("5.00", "jpy")
	f.Add("5.00", "K\u017fD")
	f.Fuzz(func(t *testing.T, amount, currency string) {
		paid, err := ParsePaid(amount, currency)
		if err != nil {
			if !errors.Is(err, ErrSyntax) || paid != (Price{}) {
				t.Fatalf("ParsePaid(%q) = %v, %v", amount, paid, err)
			}
			return
		}
		number := decimal.Decimal(paid.Amount)
		if exponent := number.Exponent(); exponent < -29 || exponent > 9 {
			t.Fatalf("ParsePaid(%q) has the exponent %d", amount, exponent)
		}
		if number.IsNegative() || number.NumDigits() > 32 {
			t.Fatalf("ParsePaid(%q) = %s", amount, number)
		}
		if len(paid.Digits()) > 52 {
			t.Fatalf("ParsePaid(%q) prints as %q", amount, paid.Digits())
		}
		if again, err := decimal.NewFromString(paid.Digits()); err != nil || !again.Equal(number) {
			t.Fatalf("ParsePaid(%q) prints as %q", amount, paid.Digits())
		}
		if !paid.CoveredBy(paid) || !paid.Equal(paid) {
			t.Fatalf("%s does not cover itself", paid)
		}
		if asked, err := Parse(amount, currency); err == nil && !asked.Equal(paid) {
			t.Fatalf("asked %s, paid %s", asked, paid)
		}
	})
}
