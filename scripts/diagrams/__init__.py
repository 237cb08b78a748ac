"""The pictures and tables of docs/, drawn from the code: state diagrams, outcomes, the line, a card's life."""
