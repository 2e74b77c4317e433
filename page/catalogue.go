package page

import (
	"cmp"
	"embed"
	"encoding/json"
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

// catalogue holds every text of the pages in one language. {n} is a number.
type catalogue struct {
	Lang   string            `json:"lang"`   // BCP 47; also the file's name
	Dir    string            `json:"dir"`    // "ltr" or "rtl"
	Labels map[string]string `json:"labels"` // that pages share
	Counts map[string]plural `json:"counts"`
	Pages  map[Kind]message  `json:"pages"`
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

// plural has a text for exactly one and a text for every other number. In a language with more
// forms, Other has to suit them all ("Seconds to wait: {n}").
type plural struct {
	One   string `json:"one"`
	Other string `json:"other"`
}

// count returns a number of things in words.
func (c *catalogue) count(things string, n int64) string {
	text := c.Counts[things].Other
	if n == 1 {
		text = c.Counts[things].One
	}
	return strings.ReplaceAll(text, "{n}", strconv.FormatInt(n, 10))
}

// wait returns a wait in words; empty if there is nothing to wait for.
func (c *catalogue) wait(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d <= 2*time.Minute:
		return c.count("retry_seconds", ceil(d, time.Second))
	}
	return c.count("retry_minutes", ceil(d, time.Minute))
}

// access returns a length of access in words, in the largest exact unit.
func (c *catalogue) access(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return c.Labels["forever"]
	case d >= day && d%day == 0:
		return c.count("days", int64(d/day))
	case d >= time.Hour && d%time.Hour == 0:
		return c.count("hours", int64(d/time.Hour))
	}
	return c.count("minutes", ceil(d, time.Minute))
}

// terms returns in words how long, for what and how often a product may be used.
func (c *catalogue) terms(q Quote) string {
	terms := c.access(q.Access)
	if q.ThisOnly {
		terms += " · " + c.Labels["this_only"]
	}
	if q.Fetches > 0 {
		terms += " · " + c.count("fetches", int64(q.Fetches))
	}
	return terms
}

// Used returns "{n} of {m}"; empty without a limit.
func (c content) Used(n, limit int) string {
	if limit <= 0 {
		return ""
	}
	return strings.NewReplacer("{n}", strconv.Itoa(n), "{m}", strconv.Itoa(limit)).Replace(c.Labels["of"])
}

// fill returns the message with the site's name and the number filled in.
func (m message) fill(site string, n int) message {
	fill := strings.NewReplacer("{site}", site, "{n}", strconv.Itoa(n))
	for _, text := range []*string{&m.Title, &m.What, &m.Money, &m.Next, &m.Link, &m.Button} {
		*text = fill.Replace(*text)
	}
	return m
}

// Detail returns in English and in one line what a page says, for programs.
func Detail(v View) string {
	english := texts().list[0]
	says := english.Pages[v.Kind].fill(cmp.Or(v.Site, english.Labels["this_site"]), v.DownloadsLimit)
	return says.Title + ". " + says.What + " " + says.Money + " " + says.Next
}

// catalogues holds the languages, the default first.
type catalogues struct {
	list    []*catalogue
	matcher language.Matcher
}

// load reads every messages/*.json. A test checks that they are complete.
func load() *catalogues {
	var all catalogues
	for _, name := range must(fs.Glob(messageFiles, "messages/*.json")) {
		c := new(catalogue)
		if err := json.Unmarshal(must(messageFiles.ReadFile(name)), c); err != nil {
			panic(err)
		}
		all.list = append(all.list, c)
	}
	i := slices.IndexFunc(all.list, func(c *catalogue) bool { return c.Lang == defaultLanguage })
	all.list[0], all.list[i] = all.list[i], all.list[0]
	tags := make([]language.Tag, len(all.list))
	for i, c := range all.list {
		tags[i] = language.Make(c.Lang)
	}
	all.matcher = language.NewMatcher(tags)
	return &all
}

// choose returns the catalogue that suits an Accept-Language header best.
func (all *catalogues) choose(acceptLanguage string) *catalogue {
	if acceptLanguage == "" || len(acceptLanguage) > maxAcceptLanguage {
		return all.list[0]
	}
	_, i := language.MatchStrings(all.matcher, acceptLanguage)
	return all.list[i]
}
