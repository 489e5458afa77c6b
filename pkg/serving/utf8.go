package serving

import (
	"errors"
	"io"
	"unicode/utf8"
)

// ErrNotUTF8: a text is not valid UTF-8.
var ErrNotUTF8 = errors.New("the text is not UTF-8")

// UTF8Reader fails if its text is not UTF-8: encoding/json would replace
// invalid bytes by U+FFFD, and a path would become another path.
type UTF8Reader struct {
	From io.Reader
	tail []byte // the start of an incomplete character; at most 3 bytes
}

func (r *UTF8Reader) Read(p []byte) (int, error) {
	n, err := r.From.Read(p)
	text := p[:n]
	if len(r.tail) > 0 {
		text = append(r.tail, text...)
	}
	cut := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if start := len(text) - back; utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				cut = start
			}
			break
		}
	}
	if !utf8.Valid(text[:cut]) || err == io.EOF && cut < len(text) {
		return 0, ErrNotUTF8
	}
	r.tail = append(r.tail[:0], text[cut:]...)
	return n, err
}
