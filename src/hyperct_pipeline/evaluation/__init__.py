"""From a trained model and its predictions to numbers, pictures and a report that can be defended."""
