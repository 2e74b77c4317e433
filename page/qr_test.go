package page

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/boombuler/barcode/qr"
)

// TestCode draws the path and compares it with the modules; that they mean the address is for the library to see to.
func TestCode(t *testing.T) {
	for _, n := range []int{20, 100, maxCodeAddress} {
		address := "https://example.com/" + token(n-20)
		got := qrCode(address)
		if got == nil {
			t.Fatalf("%d bytes: no code", n)
		}
		modules, err := qr.Encode(address, qr.L, qr.Auto)
		if err != nil {
			t.Fatal(err)
		}
		size := modules.Bounds().Dx()
		if got.Size != size+8 {
			t.Errorf("%d bytes: %d modules with the quiet zone, %d without", n, got.Size, size)
		}
		drawn := map[[2]int]bool{}
		x, y := 0, 0
		for _, step := range regexp.MustCompile(`M(\d+) (\d+)|m(\d+) 0|h(\d+)`).FindAllStringSubmatch(got.Path, -1) {
			number := func(i int) int { n, _ := strconv.Atoi(step[i]); return n }
			switch step[0][0] {
			case 'M':
				x, y = number(1), number(2)
			case 'm':
				x += number(3)
			case 'h':
				for range number(4) {
					drawn[[2]int{x, y}] = true
					x++
				}
			}
		}
		for y := range size {
			for x := range size {
				red, _, _, _ := modules.At(x, y).RGBA()
				if dark := red == 0; dark != drawn[[2]int{x, y}] {
					t.Fatalf("%d bytes: module %d %d: %v", n, x, y, drawn[[2]int{x, y}])
				}
			}
		}
	}
	for _, address := range []string{"", "https://example.com/" + token(maxCodeAddress)} {
		if qrCode(address) != nil {
			t.Errorf("a code for %d bytes", len(address))
		}
	}
}
