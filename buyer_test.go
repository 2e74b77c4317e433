package paywall_test

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddy-axra/paywall/internal/pagetest"
)

const (
	receiptPage = "/premium/article.html?axra_receipt"
	deviceLink  = "Link for the other device"
	day         = 24 * time.Hour
)

// member is the five lines with more options.
func member(options ...string) string {
	return strings.Replace(fiveLines, "access 30d", "access 30d\n\t\tpass member\n\t\t"+strings.Join(options, "\n\t\t"), 1)
}

// openOnDevice opens a device link as a person does: by the button of its page.
func (v *visitor) openOnDevice(address string) reply {
	v.w.t.Helper()
	page := v.open(address)
	page.wantPage(v.w.t, http.StatusOK, "on this device?")
	answer := v.submit(page, "Open on this device", nil)
	if answer.location() == "" {
		return answer
	}
	return v.browse(answer.next())
}

// privateAddress is that of a page, from its receipt.
func (v *visitor) privateAddress(target string) string {
	v.w.t.Helper()
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	receipt := v.open(target + separator + "axra_receipt")
	address := ""
	for node := range pagetest.Nodes(v.w.t, receipt.body) {
		if node.Data == "input" && strings.Contains(pagetest.Attribute(node, "value"), "axra_link=") {
			address = pagetest.Attribute(node, "value")
		}
	}
	if address == "" {
		v.w.t.Fatalf("no private address on the receipt:\n%s", receipt.body)
	}
	return address
}

func token(address string) string {
	_, token, _ := strings.Cut(address, "axra_link=")
	return token
}

// bearer is the header with the visitor's access token for a page.
func (v *visitor) bearer(target string) http.Header {
	return http.Header{"Authorization": {"Bearer " + v.cookieFor(target, "axra_t_")}}
}
