package jsonbody

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	SHA256 string `json:"sha256"`
	BLAKE3 string `json:"blake3"`
}

type file struct {
	Path       string `json:"path"`
	Size       *int64 `json:"size"`
	Digests    inner  `json:"digests"`
	Executable bool   `json:"executable"`
}

func (f *file) fields() []Field {
	return []Field{
		{"path", &f.Path}, {"size", &f.Size}, {"executable", &f.Executable},
		{"digests", []Field{{"sha256", &f.Digests.SHA256}, {"blake3", &f.Digests.BLAKE3}}},
	}
}

func readFile(text string) (f file, err error) {
	return f, Object(NewDecoder(strings.NewReader(text)), "files[0]", f.fields())
}

func TestObject(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`:   "",
		`null`: "",
		` { "path" : "a" , "size":1,"digests" : { "sha256":"x","blake3" :null }, "executable": true } `: "",
		`{"p\u0061th":"\ud83d\ude00\"\\","size":null}`:                                                  "",
		`{"size":1}`:                              "",
		`{"digests":{}}`:                          "",
		`{"digests":null,"path":"}{,\""}`:         "",
		`{"Path":"a"}`:                            "files[0].Path: is not a field of this request",
		`{"path":"a","p\u0061th":"b"}`:            "files[0].path: must occur once",
		`{"digests":{"sha256":"a","sha256":"b"}}`: "files[0].digests.sha256: must occur once",
		`{"digests":{"SHA256":"a"}}`:              "files[0].digests.SHA256: is not a field of this request",
		`{"digests":{},"digests":{}}`:             "files[0].digests: must occur once",
		`{"digests":"a"}`:                         "files[0].digests: must be an object",
		`{"digests":[{}]}`:                        "files[0].digests: must be an object",
		`[]`:                                      "files[0]: must be an object",
		`1`:                                       "files[0]: must be an object",
		`{"path":1}`:                              "files[0].path: must not be a JSON number",
		`{"path":{}}`:                             "files[0].path: must not be a JSON object",
		`{"size":1.5}`:                            "files[0].size: must not be a JSON number 1.5",
		`{"size":"1"}`:                            "files[0].size: must not be a JSON string",
		`{"executable":0}`:                        "files[0].executable: must not be a JSON number",
		`{"` + strings.Repeat("n", 500) + `":1}`:  "files[0]." + strings.Repeat("n", maxNameShown) + ": is not a field of this request",
		`{"path":"a",}`:                           "files[0]: is not JSON: invalid character '}' looking for beginning of object key string",
		`{"path":"a"`:                             "body: ended before the JSON was complete",
	} {
		f, err := readFile(text)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: got %v, want %s", text, err, want)
		case want == "":
			var right file
			if err := json.Unmarshal([]byte(text), &right); err != nil || !reflect.DeepEqual(f, right) {
				t.Errorf("%s: got %+v, want %+v, %v", text, f, right, err)
			}
		}
	}
}
