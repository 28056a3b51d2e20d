from django.db import models


class Message(models.Model):
    id = models.CharField(max_length=40, primary_key=True)
    status = models.CharField(max_length=40)
    credits = models.IntegerField(default=0)


class Signature(models.Model):
    header = models.CharField(max_length=300, primary_key=True)
    body = models.BinaryField()
    at = models.DateTimeField(auto_now_add=True)  # a job deletes those older than ten minutes
