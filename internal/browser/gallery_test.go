package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/language"

	"github.com/caddy-axra/paywall/page"
)

// views are the pages by name. Every kind of page is among them; a browser test checks that.
var views = []struct {
	name string
	view page.View
}{
	{"waiting", page.View{Kind: page.Waiting, CheckURL: checkURL, NextURL: nextURL, Polling: page.Polling{Refresh: 30 * time.Second, PollURL: "/poll"}}},
	{"still_waiting", page.View{Kind: page.StillWaiting, CheckURL: checkURL, NextURL: nextURL}},
	{"processing", page.View{Kind: page.Processing, CheckURL: checkURL, NextURL: nextURL, Polling: page.Polling{Refresh: 30 * time.Second, PollURL: "/poll"}}},
	{"failed", page.View{Kind: page.Failed, NextURL: nextURL}},
	{"cancelled", page.View{Kind: page.Cancelled, NextURL: nextURL}},
	{"expired", page.View{Kind: page.Expired, NextURL: nextURL}},
	{"not_yours", page.View{Kind: page.NotYours, NextURL: nextURL}},
	{"payment_safe", page.View{Kind: page.PaymentSafe, CheckURL: checkURL, RetryAfter: 5 * time.Second}},
	{"unavailable", page.View{Kind: page.Unavailable, NextURL: nextURL, RetryAfter: time.Minute}},
	{"too_many", page.View{Kind: page.TooMany, NextURL: nextURL, RetryAfter: 90 * time.Second}},
	{"refunded", page.View{Kind: page.Refunded, NextURL: nextURL}},
	{"disputed", page.View{Kind: page.Disputed}},
	{"revoked", page.View{Kind: page.Revoked, Reference: "cs_01HXMPL"}},
	{"mismatch", page.View{Kind: page.Mismatch}},
	{"required", page.View{Kind: page.Required, FormURL: nextURL + "?axra_checkout"}},
	{"bad_address", page.View{Kind: page.BadAddress}},
	{"too_many_purchases", page.View{Kind: page.TooManyPurchases}},
	{"too_long", page.View{Kind: page.TooLong, NextURL: nextURL}},
	{"misconfigured", page.View{Kind: page.Misconfigured}},
	{"downloads_used", page.View{Kind: page.DownloadsUsed, NextURL: nextURL, Purchase: page.Purchase{Downloads: 3, DownloadsLimit: 3}}},
	{"receipt", page.View{
		Kind: page.Receipt, NextURL: nextURL,
		Purchase: page.Purchase{
			Bought: bought, Until: bought.Add(30 * 24 * time.Hour), Devices: 1, DevicesLimit: 3, Downloads: 2, DownloadsLimit: 10,
			ExtendURL: nextURL + "?axra_extend=month", ExtendFor: "5.00 USD · 30 days",
		},
		Links: page.Links{
			DeviceURL: "https://example.com" + nextURL + "?axra_device=" + linkToken, DeviceUntil: bought.Add(24 * time.Hour),
			LinkURL: "https://example.com/premium/feed.xml?axra_key=" + linkToken, LinkUntil: bought.Add(time.Hour),
		},
	}},
	{"receipt_for_ever", page.View{Kind: page.Receipt, NextURL: nextURL, Purchase: page.Purchase{Bought: bought, Forever: true}}},
	{"gift", page.View{Kind: page.Gift, NextURL: nextURL, FormURL: formURL, Purchase: page.Purchase{DevicesLimit: 2}}},
	{"given", page.View{Kind: page.Given, NextURL: nextURL, Purchase: page.Purchase{Until: bought.Add(30 * 24 * time.Hour), Devices: 1, DevicesLimit: 2}}},
	{"device", page.View{Kind: page.Device, NextURL: nextURL, FormURL: formURL, Purchase: page.Purchase{Devices: 1, DevicesLimit: 3}}},
	{"device_refused", page.View{Kind: page.DeviceRefused, NextURL: nextURL}},
	{"device_full", page.View{Kind: page.DeviceFull, NextURL: nextURL, Purchase: page.Purchase{Devices: 3, DevicesLimit: 3}}},
	{"link_ended", page.View{Kind: page.LinkEnded, NextURL: nextURL}},
	{"for_program", page.View{Kind: page.ForProgram}},
	{"claim", page.View{Kind: page.Claim, NextURL: nextURL, FormURL: formURL}},
	{"claim_later", page.View{Kind: page.ClaimLater, NextURL: nextURL, FormURL: formURL}},
	{"offer", page.View{Kind: page.Offer, OfferPage: page.OfferPage{Quotes: []page.Quote{
		{Name: "day", Description: "Day pass", Price: "2.00 USD", Access: 24 * time.Hour, URL: nextURL + "?axra_checkout=day"},
		{Name: "month", Description: "Month pass", Price: "9.00 USD", Access: 30 * 24 * time.Hour, URL: nextURL + "?axra_checkout=month"},
		{Name: "for good", Price: "49.00 USD", Access: -1, URL: nextURL + "?axra_checkout=for+good"},
		{Name: "file", Description: "This table", Price: "1.50 EUR", Access: -1, ThisOnly: true, Fetches: 3, URL: nextURL + "?axra_checkout=file"},
	}}}},
}

const (
	checkURL  = "/premium/article.html?axra_session=cs_0123456789abcdef&axra_try=1"
	nextURL   = "/premium/article.html"
	formURL   = "/continue"
	linkToken = "eyJwIjoiY3NfMDEyMzQ1Njc4OWFiY2RlZiIsImQiOjIsImUiOjE3OTU1MzI3MDB9.kV9cX2Jmd3N0cTBhWnZ5bHhLMTI4N1JfdG9rZW4tZXhhbXBsZQ" //nolint:gosec // an example of what a link looks like
)

var bought = time.Date(2026, 11, 24, 14, 5, 0, 0, time.UTC)

// galleryRoutes serves every page that a visitor of a paid route can see, with example texts. A
// parameter lang, as in /?lang=ar, chooses the language.
func galleryRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", galleryIndex)
	mux.HandleFunc("GET /poll", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"state":"waiting"}`)
	})
	mux.HandleFunc("POST "+formURL, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/page/receipt", http.StatusSeeOther)
	})
	for _, entry := range views {
		view := entry.view
		view.Site = "example.com"
		if view.Kind != page.Offer { // which says what is sold for each pass
			view.Price, view.Description = "5.00 USD", "The premium section, 30 days"
			view.Reference = "cs_0123456789abcdef0123456789abcdef"
		}
		mux.HandleFunc("GET /page/"+entry.name, func(w http.ResponseWriter, r *http.Request) {
			if lang := r.URL.Query().Get("lang"); lang != "" {
				r.Header.Set("Accept-Language", lang)
			}
			if err := page.Write(w, r, view); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	return mux
}

// languages are those of the pages.
var languages = []string{"en", "ar", "es", "fr", "sw"}

// galleryIndex lists the pages, in the language asked for.
func galleryIndex(w http.ResponseWriter, r *http.Request) {
	var query string
	if lang := r.FormValue("lang"); lang != "" {
		query = "?lang=" + url.QueryEscape(page.Language(lang))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Pages of the paywall</title>\n"+
		"<main><h1>Pages of the paywall</h1>\n<form>")
	for _, lang := range languages {
		fmt.Fprintf(w, "<button name=\"lang\" value=\"%[1]s\">%[1]s, %[2]s</button>\n", lang, direction(lang))
	}
	fmt.Fprint(w, "</form>\n<ul>\n")
	for _, entry := range views {
		fmt.Fprintf(w, "<li><a href=\"/page/%[1]s%[3]s\" data-kind=\"%[2]s\">%[1]s</a></li>\n", entry.name, entry.view.Kind, query)
	}
	fmt.Fprint(w, "</ul></main></html>\n")
}

// direction is which way a language is written; of those of the pages, Arabic is from right to left.
func direction(lang string) string {
	if script, _ := language.Make(lang).Script(); script == language.MustParseScript("Arab") {
		return "rtl"
	}
	return "ltr"
}

func TestEveryPageInEveryLanguage(t *testing.T) {
	mux := galleryRoutes()
	for _, lang := range languages {
		list := httptest.NewRecorder()
		mux.ServeHTTP(list, httptest.NewRequest("GET", "/?lang="+lang, nil))
		links := regexp.MustCompile(`href="(/page/[^"]+)" data-kind="(\w+)"`).FindAllStringSubmatch(list.Body.String(), -1)
		for _, link := range links {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", link[1], nil))
			opening := `<html lang="` + lang + `" dir="` + direction(lang) + `">`
			if !strings.Contains(w.Body.String(), opening) {
				t.Errorf("%s answers %d without %s", link[1], w.Code, opening)
			}
			if size := w.Body.Len(); size >= 15<<10 {
				t.Errorf("%s: %d bytes", link[1], size)
			}
		}
	}
}
