package paywall_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func downloads(option string) string {
	return strings.Replace(fiveLines, "access 30d", "per_path\n"+option, 1)
}

// A download is a window of time, which the first byte of content opens.
func TestAPurchaseOpensAsManyDownloadsAsItWasSold(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: downloads("downloads 2")})
	w.write("premium/book.txt", marker+strings.Repeat(" text", 2000))
	v := w.visitor()
	back := v.pay(v.browse("/premium/book.txt"), cardGood)
	w.delivered()
	if answer := v.open(back.location()); answer.location() != "/premium/book.txt" {
		t.Fatalf("%d %q", answer.status, answer.location())
	}
	get := func(header http.Header) reply { return v.do(http.MethodGet, "/premium/book.txt", header, nil) }
	used := func() int {
		return w.rows("purchases WHERE downloads_used = 1") + 2*w.rows("purchases WHERE downloads_used = 2")
	}

	tag := v.do(http.MethodHead, "/premium/book.txt", nil, nil).header.Get("Etag")
	if answer := get(http.Header{"If-None-Match": {tag}}); answer.status != http.StatusNotModified {
		t.Errorf("revalidated: %d", answer.status)
	}
	if answer := v.do(http.MethodGet, "/premium/nothing.txt", nil, nil); answer.status == http.StatusOK {
		t.Error("a file that is not there")
	}
	if answer := get(http.Header{"Sec-Purpose": {"prefetch"}}); answer.status != http.StatusServiceUnavailable || strings.Contains(answer.body, marker) {
		t.Errorf("FC6: a prefetch: %d", answer.status)
	}
	if used() != 0 {
		t.Fatalf("%d downloads are used before the first byte", used())
	}

	v.open("/premium/book.txt").wantPaid(t) // the first window
	for range 11 {                          // FC5
		if answer := get(http.Header{"Range": {"bytes=1-"}}); answer.status != http.StatusPartialContent {
			t.Errorf("a range inside an open window: %d", answer.status)
		}
	}
	if answer := get(http.Header{"Sec-Purpose": {"prefetch"}}); answer.status != http.StatusOK {
		t.Errorf("FC6: a prefetch inside an open window: %d", answer.status)
	}
	w.restart()
	v.open("/premium/book.txt").wantPaid(t)
	if used() != 1 {
		t.Errorf("%d downloads are used, want 1", used())
	}

	w.pass(25 * time.Hour)
	v.open("/premium/book.txt").wantPaid(t) // the second
	w.load(downloads("downloads 9"))        // what was sold counts
	w.pass(25 * time.Hour)
	for range 2 {
		program := get(http.Header{"Range": {"bytes=1-"}})
		if program.status != http.StatusPaymentRequired || strings.Contains(program.body, "text") || !strings.Contains(program.body, "2 times") {
			t.Fatalf("the third download: %d %.100s", program.status, program.body)
		}
		v.open("/premium/book.txt").wantPage(t, http.StatusPaymentRequired, "All downloads are used")
		if program.header.Get("Etag") != "" || program.header.Get("Content-Range") != "" {
			t.Error("a refusal has the header of the file")
		}
	}
	// Buying again gives as many anew, and the old purchase stays used up.
	again := link(t, v.open("/premium/book.txt"), "Buy it again")
	v.buy(again, cardGood).wantPaid(t)
	// Another file is another purchase.
	v.open("/premium/article.html").wantCheckout(t, w)
}

// With the ledger out of reach open windows go on, and new ones wait.
func TestD3DownloadsWhileTheLedgerIsBroken(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: downloads("downloads 2")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.breakLedger()
	w.pass(5 * time.Minute)
	v.open("/premium/article.html").wantPaid(t)
	w.restart()
	v.open("/premium/article.html").wantPage(t, http.StatusServiceUnavailable, "Your payment is safe")
	w.mendLedger()
	v.open("/premium/article.html").wantPaid(t)
}

func TestALimitThatCameLaterDoesNotCount(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: downloads("")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.load(downloads("downloads 1"))
	for range 5 {
		v.open("/premium/article.html").wantPaid(t)
	}
}

// Nobody is asked to pay twice: what was bought again is found though the tab was
// closed before the visitor came back.
func TestDownloadsBoughtAgainAreFoundWhenTheTabWasClosed(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: downloads("downloads 1")})
	v := w.visitor()
	v.buy("/premium/article.html", cardGood).wantPaid(t)
	w.pass(25 * time.Hour)
	used := v.open("/premium/article.html")
	used.wantPage(t, http.StatusPaymentRequired, "All downloads are used")
	v.pay(v.browse(link(t, used, "Buy it again")), cardGood)
	w.delivered()
	v.browse("/premium/article.html").wantPaid(t)
	w.pass(25 * time.Hour)
	v.open("/premium/article.html").wantPage(t, http.StatusPaymentRequired, "All downloads are used")
	if w.creations() != 2 {
		t.Errorf("%d sessions", w.creations())
	}
}

// A pass without a bound opens what a used-up purchase does not.
func TestAPassCountsBeforeAUsedUpDownload(t *testing.T) {
	config := strings.Replace(shop, "per_path\n\t\tpasses month", "per_path\n\t\tdownloads 1\n\t\tpasses month", 1)
	w := newWorld(t, worldOptions{Caddyfile: config})
	w.write("files/a.txt", marker)
	v := w.visitor()
	v.buyPass("/files/a.txt", "files").wantPaid(t)
	w.pass(25 * time.Hour)
	v.open("/files/a.txt").wantPage(t, http.StatusPaymentRequired, "All downloads are used")
	v.buyPass("/premium/article.html", "month").wantPaid(t)
	for range 3 {
		v.open("/files/a.txt").wantPaid(t)
	}
}
