package page

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// defaultLanguage is for visitors who prefer a language that there is no catalogue for.
const defaultLanguage = "en"

// maxAcceptLanguage bounds the Accept-Language header in bytes; a longer one is ignored.
const maxAcceptLanguage = 512

//go:embed messages/*.json
var messageFiles embed.FS

// catalogue holds every text of the pages in one language.
type catalogue struct {
	Lang   string           `json:"lang"` // BCP 47; also the file's name
	Dir    string           `json:"dir"`  // "ltr" or "rtl"
	Labels labels           `json:"labels"`
	Pages  map[Kind]message `json:"pages"`
}

// message holds the texts of one Kind. {site} is the site's name.
type message struct {
	Title  string `json:"title"`
	What   string `json:"what"` // what happened; may be empty
	Money  string `json:"money"`
	Next   string `json:"next"`
	Link   string `json:"link"`             // label of the link to NextURL
	Button string `json:"button,omitempty"` // label of the button; the kinds in withButton have one
}

// labels holds the texts that pages share. {n} is a number.
type labels struct {
	Money       string `json:"money"`
	Next        string `json:"next"`
	Description string `json:"description"`
	Price       string `json:"price"`
	Reference   string `json:"reference"`
	Check       string `json:"check"`
	ThisSite    string `json:"this_site"` // for an unknown site name

	timeLabels
	pollingLabels
	saleLabels
	purchaseLabels
	linkLabels
}

type timeLabels struct {
	RetrySeconds plural `json:"retry_seconds"`
	RetryMinutes plural `json:"retry_minutes"`
	Days         plural `json:"days"`
	Hours        plural `json:"hours"`
	Minutes      plural `json:"minutes"`
	Forever      string `json:"forever"`
}

type pollingLabels struct {
	Auto           string `json:"auto"`
	LiveWaiting    string `json:"live_waiting"`
	LiveProcessing string `json:"live_processing"`
	LiveOffline    string `json:"live_offline"`
	LiveElapsed    string `json:"live_elapsed"`
}

type saleLabels struct {
	OnSale   string `json:"on_sale"`
	Buy      string `json:"buy"`       // {name} and {price} of a product
	ThisOnly string `json:"this_only"` // for a product sold by path
	Fetches  plural `json:"fetches"`   // how often it may be downloaded
}

type purchaseLabels struct {
	Access    string `json:"access"` // heads Forever
	Bought    string `json:"bought"`
	Until     string `json:"until"`
	Of        string `json:"of"` // {n} of {m}
	Devices   string `json:"devices"`
	Downloads string `json:"downloads"`
	Extend    string `json:"extend"`
}

type linkLabels struct {
	WorksUntil  string `json:"works_until"`
	DeviceTitle string `json:"device_title"`
	DeviceText  string `json:"device_text"`
	DeviceLink  string `json:"device_link"`
	DeviceScan  string `json:"device_scan"`
	DeviceCode  string `json:"device_code"` // describes the QR code
	LinkTitle   string `json:"link_title"`
	LinkText    string `json:"link_text"`
}

// plural has a text for exactly one and a text for every other number. In a language with more
// forms, Other has to suit them all ("Seconds to wait: {n}").
type plural struct {
	One   string `json:"one"`
	Other string `json:"other"`
}

func (p plural) format(n int64) string {
	text := p.Other
	if n == 1 {
		text = p.One
	}
	return strings.ReplaceAll(text, "{n}", strconv.FormatInt(n, 10))
}

// wait returns a wait in words: in seconds up to two minutes, else in minutes, rounded up. It is
// empty if there is nothing to wait for.
func (l labels) wait(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d <= 2*time.Minute:
		return l.RetrySeconds.format(ceil(d, time.Second))
	default:
		return l.RetryMinutes.format(ceil(d, time.Minute))
	}
}

// access returns a length of access in words, in the largest exact unit.
func (l labels) access(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return l.Forever
	case d >= day && d%day == 0:
		return l.Days.format(int64(d / day))
	case d >= time.Hour && d%time.Hour == 0:
		return l.Hours.format(int64(d / time.Hour))
	default:
		return l.Minutes.format(ceil(d, time.Minute))
	}
}

// terms returns in words how long, for what and how often a product may be used.
func (l labels) terms(q Quote) string {
	parts := []string{l.access(q.Access)}
	if q.ThisOnly {
		parts = append(parts, l.ThisOnly)
	}
	if q.Fetches > 0 {
		parts = append(parts, l.Fetches.format(int64(q.Fetches)))
	}
	return strings.Join(parts, " · ")
}

// Used returns "{n} of {m}"; empty without a limit.
func (l labels) Used(n, limit int) string {
	if limit <= 0 {
		return ""
	}
	return strings.NewReplacer("{n}", strconv.Itoa(n), "{m}", strconv.Itoa(limit)).Replace(l.Of)
}

// fill returns the message with the site's name and the number filled in.
func (m message) fill(site string, n int) message {
	fill := strings.NewReplacer("{site}", site, "{n}", strconv.Itoa(n))
	for _, text := range []*string{&m.Title, &m.What, &m.Money, &m.Next, &m.Link, &m.Button} {
		*text = fill.Replace(*text)
	}
	return m
}

// catalogues holds the languages, the default first.
type catalogues struct {
	list    []*catalogue
	matcher language.Matcher
}

// load reads every messages/*.json. A test checks that they are complete.
func load(files fs.FS) (*catalogues, error) {
	names, err := fs.Glob(files, "messages/*.json")
	if err != nil {
		return nil, err
	}
	var all catalogues
	for _, name := range names {
		var c catalogue
		raw, err := fs.ReadFile(files, name)
		if err := errors.Join(err, json.Unmarshal(raw, &c)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if c.Lang == defaultLanguage {
			all.list = slices.Insert(all.list, 0, &c)
		} else {
			all.list = append(all.list, &c)
		}
	}
	tags := make([]language.Tag, len(all.list))
	for i, c := range all.list {
		tags[i] = language.Make(c.Lang)
	}
	all.matcher = language.NewMatcher(tags)
	return &all, nil
}

// choose returns the catalogue that suits an Accept-Language header best.
func (all *catalogues) choose(acceptLanguage string) *catalogue {
	if len(all.list) == 1 || acceptLanguage == "" || len(acceptLanguage) > maxAcceptLanguage {
		return all.list[0]
	}
	_, i := language.MatchStrings(all.matcher, acceptLanguage)
	return all.list[i]
}
