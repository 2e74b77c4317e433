package page

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"
)

// defaultRefresh is the time to the first check of a page that has a PollURL and no Refresh.
const defaultRefresh = 5 * time.Second

// normal returns the view with its defaults filled in and its unsafe URLs removed.
func (v View) normal() View {
	v.Status = cmp.Or(v.Status, v.Kind.Status())
	for _, address := range []*string{&v.NextURL, &v.CheckURL, &v.PollURL, &v.ExtendURL, &v.FormURL, &v.DeviceURL, &v.LinkURL} {
		*address = safeURL(*address)
	}
	if absolute(v.FormURL) || !withButton[v.Kind] {
		v.FormURL = ""
	}
	for _, address := range []*string{&v.DeviceURL, &v.LinkURL} {
		if !absolute(*address) {
			*address = ""
		}
	}
	if v.PollURL != "" && v.Refresh <= 0 {
		v.Refresh = defaultRefresh
	}
	v.Offers = slices.Clone(v.Offers)
	for i := range v.Offers {
		v.Offers[i].URL = safeURL(v.Offers[i].URL)
	}
	return v
}

// absolute expects a safe URL.
func absolute(address string) bool {
	return address != "" && address[0] != '/' && address[0] != '?'
}

// safeURL returns the address if following it is harmless, else "". It rejects "//host", which a
// request path with two slashes turns into and which leads to another site.
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

// hasForm reports whether the page has a button that posts.
func (v View) hasForm() bool {
	return v.FormURL != "" || slices.ContainsFunc(v.Offers, func(o Quote) bool { return o.URL != "" })
}
