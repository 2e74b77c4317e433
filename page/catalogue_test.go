package page

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// textsOf returns every text of a catalogue by its path; plurals count as two.
func textsOf(t *testing.T, c *catalogue) map[string]string {
	t.Helper()
	var tree map[string]any
	raw, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(raw, &tree)
	}
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	var walk func(prefix string, tree map[string]any)
	walk = func(prefix string, tree map[string]any) {
		for key, value := range tree {
			if inner, ok := value.(map[string]any); ok {
				walk(prefix+key+".", inner)
			} else {
				found[prefix+key], _ = value.(string)
			}
		}
	}
	walk("", tree)
	return found
}

var placeholder = regexp.MustCompile(`\{[^}]*\}?`)

// placeholders lists those of a text, sorted. A text about exactly one thing ("in a second") needs no number.
func placeholders(path, text string) []string {
	found := placeholder.FindAllString(text, -1)
	if strings.HasSuffix(path, ".one") || strings.HasPrefix(path, "pages.") {
		found = slices.DeleteFunc(found, func(p string) bool { return p == "{n}" && strings.HasSuffix(path, ".one") || p == "{site}" })
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestCataloguesAreComplete(t *testing.T) {
	t.Parallel()
	english := textsOf(t, texts().list[0])
	for _, c := range texts().list {
		if kinds := len(c.Pages); kinds != len(usual) || c.Dir != "ltr" && c.Dir != "rtl" {
			t.Errorf("%s: %d pages, direction %q", c.Lang, kinds, c.Dir)
		}
		for kind := range usual {
			if m := c.Pages[kind]; (m.Button != "") != withButton[kind] || m.Title == "" {
				t.Errorf("%s: page %s: %+v", c.Lang, kind, m)
			}
		}
		theirs := textsOf(t, c)
		if !slices.Equal(slices.Sorted(maps.Keys(theirs)), slices.Sorted(maps.Keys(english))) {
			t.Errorf("%s has other texts than English", c.Lang)
		}
		for path, text := range theirs {
			if strings.TrimSpace(text) == "" && !strings.HasSuffix(path, ".what") || strings.ContainsAny(text, "!¡！") {
				t.Errorf("%s: %s is %q", c.Lang, path, text)
			}
			if got, want := placeholders(path, text), placeholders(path, english[path]); !slices.Equal(got, want) {
				t.Errorf("%s: %s has the placeholders %v, in English %v", c.Lang, path, got, want)
			}
		}
	}
}

func TestCataloguesHaveNoUnknownKeys(t *testing.T) {
	t.Parallel()
	for _, c := range texts().list {
		raw, err := messageFiles.ReadFile("messages/" + c.Lang + ".json") // the file is named after the language
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(new(catalogue)); err != nil {
			t.Errorf("%s: %v", c.Lang, err)
		}
	}
}

func TestLanguagesThatAreShipped(t *testing.T) {
	t.Parallel()
	var got []string
	for _, c := range texts().list {
		got = append(got, c.Lang)
	}
	if want := []string{"en", "ar", "es", "fr", "sw"}; !slices.Equal(got, want) { // the default first
		t.Errorf("%q, want %q", got, want)
	}
	for header, want := range map[string]string{
		"": "en", "de": "en", "fr-CA": "fr", "es-419,es;q=0.9": "es", "sw-KE": "sw", "ar-EG,en;q=0.5": "ar", "de, sw;q=0.3": "sw",
		"*": "en", ";;;q=x": "en", strings.Repeat("ar,", 10_000): "en", strings.Repeat("-", 500): "en",
	} {
		if got := Language(header); got != want {
			t.Errorf("%.40q chose %s, want %s", header, got, want)
		}
	}
	for header, want := range map[string]string{"": "30 days", "fr": "30 jours", "sw": "siku 30", "es": "30 días", "ar": "عدد الأيام: 30"} {
		if got := AccessInWords(header, 30*24*time.Hour); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	for access, want := range map[time.Duration]string{
		-1: "no expiry", 24 * time.Hour: "1 day", 36 * time.Hour: "36 hours", 90 * time.Minute: "90 minutes", 61 * time.Second: "2 minutes",
	} {
		if got := AccessInWords("", access); got != want {
			t.Errorf("%s: %s, want %s", access, got, want)
		}
	}
}

// Every page that is shipped, in every language that is shipped.
func TestEveryPageInEveryLanguage(t *testing.T) {
	for _, c := range texts().list {
		for kind := range usual {
			t.Run(c.Lang+"/"+string(kind), func(t *testing.T) {
				body, err := render(c, full(kind).normal())
				if err != nil {
					t.Fatal(err)
				}
				if len(body) > maxSize {
					t.Errorf("%d bytes", len(body))
				}
				checkWellFormed(t, string(body))
				for _, element := range all(parse(t, string(body)), "time") {
					if attr(element, "dir") != "ltr" {
						t.Error("a time in the direction of the language")
					}
				}
				root := parse(t, string(body))
				if html := all(root, "html")[0]; attr(html, "lang") != c.Lang || attr(html, "dir") != c.Dir {
					t.Errorf("lang %q, dir %q", attr(html, "lang"), attr(html, "dir"))
				}
				if shown := text(all(root, "body")[0]); strings.ContainsAny(shown, "{}") {
					t.Error("a placeholder was left unfilled")
				}
			})
		}
	}
}
