exec java Receiver.java
