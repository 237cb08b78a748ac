"""The pictures and tables of docs/, drawn from the code: state diagrams, outcomes, a card's life."""
