package paywall_test

import (
	"net/http"
	"strings"
	"testing"
)

func downloads(option string) string {
	return strings.Replace(fiveLines, "access 30d", "per_path\n"+option, 1)
}

func TestAPurchaseIsFetchedAsOftenAsItWasSold(t *testing.T) {
	w := newWorld(t, worldOptions{Caddyfile: downloads("downloads 2")})
	w.write("premium/book.txt", marker+strings.Repeat(" text", 2000))
	v := w.visitor()
	back := v.pay(v.browse("/premium/book.txt"), cardGood)
	w.delivered()
	v.browse(back.location()).wantPaid(t) // the first

	get := func(header http.Header) reply { return v.do(http.MethodGet, "/premium/book.txt", header, nil) }
	if answer := v.do(http.MethodHead, "/premium/book.txt", nil, nil); answer.status != http.StatusOK {
		t.Errorf("HEAD: %d", answer.status)
	}
	if answer := get(http.Header{"Range": {"bytes=5000-"}}); answer.status != http.StatusPartialContent {
		t.Errorf("a resumed download: %d", answer.status)
	}
	tag := v.do(http.MethodHead, "/premium/book.txt", nil, nil).header.Get("Etag")
	if answer := get(http.Header{"If-None-Match": {tag}}); answer.status != http.StatusNotModified {
		t.Errorf("revalidated: %d", answer.status)
	}
	if answer := get(nil); answer.status != http.StatusOK { // the second
		t.Errorf("the second download: %d", answer.status)
	}
	for range 2 {
		program := get(nil)
		if program.status != http.StatusPaymentRequired || strings.Contains(program.body, marker) || !strings.Contains(program.body, "2 times") {
			t.Fatalf("the third download: %d %.100s", program.status, program.body)
		}
		v.open("/premium/book.txt").wantPage(t, http.StatusPaymentRequired, "All downloads are used")
		if program.header.Get("Etag") != "" || program.header.Get("Content-Range") != "" {
			t.Error("a refusal has the header of the file")
		}
		w.restart()
		w.load(downloads("downloads 9")) // what was sold counts
	}
	// Buying again gives as many anew, and the old purchase stays used up.
	again := link(t, v.open("/premium/book.txt"), "Buy it again")
	v.buy(again, cardGood).wantPaid(t)
	if answer := get(nil); answer.status != http.StatusOK {
		t.Errorf("after buying again: %d", answer.status)
	}
	// Another file is another purchase.
	v.open("/premium/article.html").wantCheckout(t, w)
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
	used := v.open("/premium/article.html")
	used.wantPage(t, http.StatusPaymentRequired, "All downloads are used")
	v.pay(v.browse(link(t, used, "Buy it again")), cardGood)
	w.delivered()
	v.browse("/premium/article.html").wantPaid(t)
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
	v.open("/files/a.txt").wantPage(t, http.StatusPaymentRequired, "All downloads are used")
	v.buyPass("/premium/article.html", "month").wantPaid(t)
	for range 3 {
		v.open("/files/a.txt").wantPaid(t)
	}
}
