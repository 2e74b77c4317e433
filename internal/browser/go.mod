module github.com/caddy-axra/paywall/internal/browser

go 1.26.0

require (
	github.com/caddy-axra/paywall v0.0.0
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	golang.org/x/text v0.42.0
)

require github.com/boombuler/barcode v1.1.0 // indirect

require github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect

replace github.com/caddy-axra/paywall => ../..
