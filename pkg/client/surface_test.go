package client_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
)

// TestNothingOfTheServer: whoever uses the client meets the words of the
// contract alone, never those of the server or of the wire between.
func TestNothingOfTheServer(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	var look func(what reflect.Type, way string)
	look = func(what reflect.Type, way string) {
		if seen[what] {
			return
		}
		seen[what] = true
		for _, unwanted := range []string{"/pkg/httpapi", "/pkg/serving", "/pkg/access", "huma", "prometheus"} {
			if strings.Contains(what.PkgPath(), unwanted) {
				t.Errorf("%s is a %s", way, what)
			}
		}
		for i := range what.NumMethod() {
			method := what.Method(i)
			look(method.Type, way+"."+method.Name)
		}
		switch what.Kind() {
		case reflect.Func:
			for i := range what.NumIn() {
				look(what.In(i), way)
			}
			for i := range what.NumOut() {
				look(what.Out(i), way)
			}
		case reflect.Struct:
			for i := range what.NumField() {
				if field := what.Field(i); field.IsExported() {
					look(field.Type, way+"."+field.Name)
				}
			}
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			look(what.Elem(), way)
		}
	}
	for _, public := range []any{&client.Client{}, client.Options{}, &client.RemoteError{}, client.New} {
		look(reflect.TypeOf(public), reflect.TypeOf(public).String())
	}
	if len(seen) < 50 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}
