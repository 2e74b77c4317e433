package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// minAmount is the smallest charge in major units. [payments/checkout-sessions]
const minAmount = "0.50"

// amountPattern bounds the digits and the exponent, so that a short text cannot
// stand for a number that fills the memory.
var amountPattern = regexp.MustCompile(`^-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9])?$`)

// parseAmount reads a JSON number in major units. What it returns is the text
// as it was given, so that it comes back digit for digit; only an exponent is
// written out.
func parseAmount(raw json.RawMessage) (json.Number, error) {
	text := string(raw)
	if !amountPattern.MatchString(text) {
		return "", errors.New("must be a number")
	}
	value, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", errors.New("must be a number")
	}
	least, _ := new(big.Rat).SetString(minAmount)
	if value.Cmp(least) < 0 {
		return "", fmt.Errorf("must be at least %s", minAmount)
	}
	if strings.ContainsAny(text, "eE") {
		digits, _ := value.FloatPrec() // a decimal's expansion is always finite
		text = value.FloatString(digits)
	}
	return json.Number(text), nil
}

// iso4217 holds the active currency codes.
const iso4217 = " aed afn all amd aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn bzd" +
	" cad cdf chf clp cny cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gnf gtq gyd" +
	" hkd hnl htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf kpw krw kwd kyd kzt lak lbp lkr lrd lsl lyd" +
	" mad mdl mga mkd mmk mnt mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg" +
	" qar ron rsd rub rwf sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt tnd top try ttd twd tzs" +
	" uah ugx usd uyu uzs ved ves vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg "

// localCurrencies are paid by bank transfer, mobile money or instant EFT, and
// settle late. [payments/local-rails-checkout]
const localCurrencies = " ngn zar kes tzs ugx rwf mwk zmw bwp xaf "

const (
	noDigits    = " bif clp djf gnf isk jpy kmf krw pyg rwf ugx vnd vuv xaf xof xpf "
	threeDigits = " bhd iqd jod kwd lyd omr tnd "
)

func isCurrency(code string) bool { return listed(iso4217, code) }

func isLocal(code string) bool { return listed(localCurrencies, code) }

func listed(list, code string) bool {
	return len(code) == 3 && strings.Contains(list, " "+code+" ")
}

// displayAmount writes an amount for people: with at least the currency's usual
// digits ("5.00 USD" for 5), and never fewer than were asked.
func displayAmount(amount json.Number, currency string) string {
	digits := 2
	switch {
	case listed(noDigits, currency):
		digits = 0
	case listed(threeDigits, currency):
		digits = 3
	}
	whole, fraction, _ := strings.Cut(amount.String(), ".")
	if missing := digits - len(fraction); missing > 0 {
		fraction += strings.Repeat("0", missing)
	}
	if strings.Trim(fraction, "0") == "" && digits == 0 {
		fraction = ""
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return whole + " " + strings.ToUpper(currency)
}
