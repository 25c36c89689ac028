package scheduling

// stretch is how many customers are looked at in one go. It takes about as long as a pass.
const stretch = 64

// walk rests before the i-th customer is looked at, if it is time for it, and reports whether all customers were ranked anew since
// ranked was read. Then what was seen before cannot be compared with what is seen after.
func (s *State) walk(i int, ranked int) bool {
	if s.Rest != nil && i%stretch == stretch-1 {
		s.Rest()
	}
	return s.ranked != ranked
}

// eachActive calls f for the customers that are active, and rests in between. Each is seen as it is at that time, and not at all once
// it is active no more. It returns false if all were ranked anew in between.
func (s *State) eachActive(f func(*customer)) bool {
	active := make([]*customer, s.active.len())
	for i := range active {
		active[i] = s.active.slots[i].value
	}
	ranked := s.ranked
	for i, c := range active {
		if s.walk(i, ranked) {
			return false
		}
		if c.position >= 0 {
			f(c)
		}
	}
	return true
}
