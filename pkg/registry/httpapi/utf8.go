package httpapi

import (
	"errors"
	"io"
	"unicode/utf8"
)

var errNotUTF8 = errors.New("the text is not UTF-8")

// utf8Reader fails where its text is not UTF-8: encoding/json would put
// U+FFFD there, and a path would become another path.
type utf8Reader struct {
	from io.Reader
	tail []byte // the begin of a character that the next bytes end; at most 3
}

func (r *utf8Reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
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
		return 0, errNotUTF8
	}
	r.tail = append(r.tail[:0], text[cut:]...)
	return n, err
}
