package page

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// defaultRefresh is the time to the first check of a page that has a PollURL and no Refresh.
const defaultRefresh = 5 * time.Second

// normal returns the view with its defaults filled in and its unsafe URLs removed.
func (v View) normal() (View, error) {
	if _, known := texts().list[0].Pages[v.Kind]; !known {
		return v, fmt.Errorf("unknown kind of page %q", v.Kind)
	}
	v.Status = cmp.Or(v.Status, v.Kind.Status())
	if v.Status < 200 || v.Status > 599 {
		return v, fmt.Errorf("impossible status %d", v.Status)
	}
	v.NextURL, v.CheckURL, v.PollURL = safeURL(v.NextURL), safeURL(v.CheckURL), safeURL(v.PollURL)
	v.ExtendURL, v.FormURL, v.DeviceURL, v.LinkURL = safeURL(v.ExtendURL), safeURL(v.FormURL), safeURL(v.DeviceURL), safeURL(v.LinkURL)
	if absolute(v.FormURL) || !withButton[v.Kind] {
		v.FormURL = ""
	}
	if !absolute(v.DeviceURL) {
		v.DeviceURL = ""
	}
	if !absolute(v.LinkURL) {
		v.LinkURL = ""
	}
	if v.Kind == DownloadsUsed && v.DownloadsLimit <= 0 {
		v.DownloadsLimit = v.Downloads
	}
	if v.PollURL != "" && v.Refresh <= 0 {
		v.Refresh = defaultRefresh
	}
	v.Offers = slices.Clone(v.Offers)
	for i := range v.Offers {
		v.Offers[i].URL = safeURL(v.Offers[i].URL)
	}
	return v, nil
}

// absolute expects a safe URL.
func absolute(address string) bool {
	return address != "" && address[0] != '/' && address[0] != '?'
}

// safeURL returns the address if following it is harmless, else "". "//host" is refused with the
// rest: it is what becomes of a request path with two slashes, and leads off the site.
func safeURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	switch {
	case u.Scheme == "http", u.Scheme == "https":
		if u.Host != "" {
			return address
		}
	case strings.HasPrefix(address, "?"):
		return address
	case strings.HasPrefix(address, "/"):
		if len(address) == 1 || (address[1] != '/' && address[1] != '\\') {
			return address
		}
	}
	return ""
}

// personal reports whether the view is about one visitor only.
func (v View) personal() bool {
	return v.Reference != "" || v.PollURL != "" || v.FormURL != "" && v.Kind != Required || v.DeviceURL != "" || v.LinkURL != "" ||
		!v.Bought.IsZero() || !v.Until.IsZero()
}

// hasForm reports whether the page has a button that posts.
func (v View) hasForm() bool {
	return v.FormURL != "" || slices.ContainsFunc(v.Offers, func(o Quote) bool { return o.URL != "" })
}
