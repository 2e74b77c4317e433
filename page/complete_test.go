package page

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"golang.org/x/text/language"
)

// loadWhole loads the catalogues and reports everything that is missing or wrong in them.
func loadWhole(files fs.FS) error {
	all, err := load(files)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all.list {
		errs = append(errs, c.check())
	}
	return errors.Join(errs...)
}

// check reports everything that is missing or wrong.
func (c *catalogue) check() error {
	var errs []error
	if tag, err := language.Parse(c.Lang); err != nil || tag.String() != c.Lang {
		errs = append(errs, fmt.Errorf("lang: %q is not a canonical language tag", c.Lang))
	}
	if c.Dir != "ltr" && c.Dir != "rtl" {
		errs = append(errs, fmt.Errorf("dir: %q is neither ltr nor rtl", c.Dir))
	}
	errs = append(errs, c.Labels.check()...)
	for kind := range c.Pages {
		if _, known := usualStatus[kind]; !known {
			errs = append(errs, fmt.Errorf("pages.%s: no such page", kind))
		}
	}
	for kind := range usualStatus {
		m := c.Pages[kind]
		for key, text := range map[string]string{"title": m.Title, "money": m.Money, "next": m.Next, "link": m.Link} {
			errs = append(errs, checkText(fmt.Sprintf("pages.%s.%s", kind, key), text, "{site}", false))
		}
		switch {
		case withButton[kind]:
			errs = append(errs, checkText(fmt.Sprintf("pages.%s.button", kind), m.Button, "{site}", false))
		case m.Button != "":
			errs = append(errs, fmt.Errorf("pages.%s.button: the page has none", kind))
		}
		if m.What != "" {
			allowed := "{site}"
			if kind == DownloadsUsed {
				allowed = "{n}"
			}
			errs = append(errs, checkText(fmt.Sprintf("pages.%s.what", kind), m.What, allowed, kind == DownloadsUsed))
		}
	}
	return errors.Join(errs...)
}

func (l labels) check() []error {
	var errs []error
	for key, text := range map[string]string{
		"money": l.Money, "next": l.Next, "description": l.Description, "price": l.Price,
		"reference": l.Reference, "check": l.Check, "this_site": l.ThisSite, "auto": l.Auto,
		"on_sale": l.OnSale, "forever": l.Forever, "access": l.Access, "bought": l.Bought, "until": l.Until,
		"devices": l.Devices, "downloads": l.Downloads, "extend": l.Extend,
		"works_until": l.WorksUntil, "this_only": l.ThisOnly,
		"device_title": l.DeviceTitle, "device_text": l.DeviceText, "device_link": l.DeviceLink, "device_scan": l.DeviceScan, "device_code": l.DeviceCode,
		"link_title": l.LinkTitle, "link_text": l.LinkText,
		"live_waiting": l.LiveWaiting, "live_processing": l.LiveProcessing, "live_offline": l.LiveOffline,
	} {
		errs = append(errs, checkText("labels."+key, text, "", false))
	}
	for key, text := range map[string]string{
		"live_elapsed":        l.LiveElapsed,
		"retry_seconds.other": l.RetrySeconds.Other, "retry_minutes.other": l.RetryMinutes.Other,
		"fetches.other": l.Fetches.Other,
		"days.other":    l.Days.Other, "hours.other": l.Hours.Other, "minutes.other": l.Minutes.Other,
	} {
		errs = append(errs, checkText("labels."+key, text, "{n}", true))
	}
	// "in a second" needs no number
	for key, text := range map[string]string{
		"retry_seconds.one": l.RetrySeconds.One, "retry_minutes.one": l.RetryMinutes.One,
		"fetches.one": l.Fetches.One,
		"days.one":    l.Days.One, "hours.one": l.Hours.One, "minutes.one": l.Minutes.One,
	} {
		errs = append(errs, checkText("labels."+key, text, "{n}", false))
	}
	for key, l := range map[string]struct{ text, one, other string }{
		"buy": {l.Buy, "{name}", "{price}"},
		"of":  {l.Of, "{n}", "{m}"},
	} {
		// Without one of the two, the other is all that may be left.
		errs = append(errs,
			checkText("labels."+key, strings.ReplaceAll(l.text, l.one, "x"), l.other, true),
			checkText("labels."+key, strings.ReplaceAll(l.text, l.other, "x"), l.one, true))
	}
	return errs
}

var placeholder = regexp.MustCompile(`\{[^}]*\}?`)

// checkText reports a text that is empty, has a placeholder other than allowed, or lacks one it needs.
func checkText(key, text, allowed string, needed bool) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("%s: missing", key)
	}
	for _, found := range placeholder.FindAllString(text, -1) {
		if found != allowed {
			return fmt.Errorf("%s: unknown placeholder %s", key, found)
		}
	}
	if needed && !strings.Contains(text, allowed) {
		return fmt.Errorf("%s: lacks %s", key, allowed)
	}
	return nil
}
