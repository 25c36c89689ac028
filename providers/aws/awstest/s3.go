package awstest

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
)

// object puts, gets and deletes objects of S3, by the paths of their buckets and keys.
func (s *Server) object(w http.ResponseWriter, r *http.Request, body []byte) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	bucket, _, _ := strings.Cut(path, "/")
	action := map[string]string{http.MethodPut: "s3:PutObject", http.MethodDelete: "s3:DeleteObject"}[r.Method]
	need := []Access{{cmp.Or(action, "s3:GetObject"), objectARN(path)}}
	if action == "" && !s.has(r.URL.Path) {
		need = append(need, Access{"s3:ListBucket", objectARN(bucket)}) // to learn that there is no such object
	}
	if f := s.refused(need...); f != nil {
		objectError(w, http.StatusForbidden, "AccessDenied", f.Message)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["s3:"+r.Method]++
	switch r.Method {
	case http.MethodPut:
		s.objects[r.URL.Path] = body
	case http.MethodDelete:
		delete(s.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	default:
		content, ok := s.objects[r.URL.Path]
		if !ok {
			objectError(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
			return
		}
		_, _ = w.Write(content)
	}
}

func objectARN(path string) string { return "arn:aws:s3:::" + path }

func objectError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<Error><Code>%s</Code><Message>%s</Message></Error>`, code, message) // the client may have gone
}

func (s *Server) has(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[path]
	return ok
}

// Objects returns how many objects there are.
func (s *Server) Objects() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.objects)
}

// Items returns how many items a table has.
func (s *Server) Items(table string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[table]; t != nil {
		for _, part := range t.items {
			n += part.Len()
		}
	}
	return n
}
